"""fairseq-lite export: a checkpoint into a folder that runs without torch and fairseq."""

import sys

from fairseq_lite.errors import blame_options
from fairseq_lite.export import export_checkpoint
from fairseq_lite.export.checkpoint import BITS, DEFAULT_BEAM

OPTIONS = ("bits", "beam", "portable", "step", "spm", "dict_src", "dict_tgt", "data", "shortlist")


def add_arguments(parser) -> None:
    parser.add_argument("checkpoint", metavar="CHECKPOINT", help="of fairseq's or of this plugin's, compressed or not")
    parser.add_argument("output", metavar="OUT", help="folder to make")
    parser.add_argument("--bits", type=int, default=32, choices=BITS, help="bits a weight (default: %(default)s)")
    parser.add_argument("--beam", type=int, metavar="N", help=f"default beam of the folder (default: {DEFAULT_BEAM})")
    parser.add_argument("--portable", action="store_true", help="use standard operators of ONNX alone")
    parser.add_argument("--step", action="store_true", help="add the encoder and one step, to sample, stream and score")
    parser.add_argument(
        "--spm",
        action="append",
        default=[],
        metavar="MODEL",
        help="sentencepiece model to copy; give it twice where source and target have their own",
    )
    parser.add_argument("--dict-src", metavar="FILE", help="source dictionary (default: of the checkpoint's data)")
    parser.add_argument("--dict-tgt", metavar="FILE", help="target dictionary (default: of the checkpoint's data)")
    parser.add_argument("--data", metavar="FOLDER", help="data of fairseq-preprocess (default: the checkpoint's)")
    parser.add_argument(
        "--shortlist",
        type=int,
        metavar="K",
        help="let each source word bring at most K target words into a translation, learnt from the training data",
    )


def run(args) -> None:
    options = {name: getattr(args, name) for name in OPTIONS}
    with blame_options():
        exported = export_checkpoint(args.checkpoint, args.output, **options)
    if exported.note:
        print(f"note: {exported.note}", file=sys.stderr)
    print(f"exported {args.checkpoint} into {args.output}: {exported.kind}, {args.bits} bits, {exported.bytes:,} bytes")
