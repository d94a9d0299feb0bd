"""fairseq-lite decompress: a compressed checkpoint into a plain one."""

from fairseq_lite.checkpoints import read_checkpoint, require_finite, write_checkpoint
from fairseq_lite.compression.states import Unsealed
from fairseq_lite.errors import UserError
from fairseq_lite.output_files import check_output


def add_arguments(parser) -> None:
    parser.add_argument("input", metavar="IN", help="checkpoint that `fairseq-lite compress` wrote")
    parser.add_argument("output", metavar="OUT", help="file to write, with weights in float32")


def run(args) -> None:
    check_output(args.output, [args.input])
    checkpoint = read_checkpoint(args.input)
    if not isinstance(checkpoint["model"], Unsealed):
        raise UserError(f"{args.input}: is not compressed; give a checkpoint that `fairseq-lite compress` wrote")
    require_finite(checkpoint["model"], args.input)
    write_checkpoint(checkpoint, args.output)
    print(f"decompressed {args.input} into {args.output}")
