"""fairseq-lite compress: a checkpoint into a small file that fairseq's commands load."""

import os

from rich.console import Console
from rich.progress import track

from fairseq_lite.checkpoints import read_checkpoint, require_finite
from fairseq_lite.compression.files import compress, write_compressed
from fairseq_lite.compression.magnitude import check_sparsity
from fairseq_lite.compression.quantisers import QUANTISERS
from fairseq_lite.compression.scheme import Scheme
from fairseq_lite.compression.states import Unsealed, count_weights
from fairseq_lite.errors import blame_options
from fairseq_lite.output_files import check_output


def add_arguments(parser) -> None:
    parser.add_argument("input", metavar="IN", help="checkpoint of any model of fairseq's or of this plugin's")
    parser.add_argument("output", metavar="OUT", help="file to write")
    parser.add_argument("--bits", type=int, default=8, metavar="N", help="bits a weight, 2 to 8 (default: %(default)s)")
    parser.add_argument(
        "--method",
        choices=list(QUANTISERS),
        default="kmeans",
        help="levels by k-means, or evenly spaced in each row of a matrix (default: %(default)s)",
    )
    parser.add_argument("--per-row", action="store_true", help="k-means in each row instead of each matrix")
    parser.add_argument(
        "--prune-weights", type=float, default=0.0, metavar="S", help="first set the share S of smallest weights to 0"
    )
    parser.add_argument("--entropy-code", action="store_true", help="write frequent values with fewer bits, lossless")
    parser.add_argument(
        "--keep",
        action="append",
        default=[],
        metavar="PATTERN",
        help="store tensors unchanged whose name this regular expression is found in; may be given several times",
    )


def run(args) -> None:
    with blame_options(sparsity="--prune-weights"):
        scheme = Scheme(args.bits, args.method, args.per_row, args.entropy_code, tuple(args.keep))
        check_sparsity(args.prune_weights)
        check_output(args.output, [args.input])
        checkpoint = read_checkpoint(args.input)
        require_finite(checkpoint["model"], args.input)
        compressed = compress(checkpoint, scheme, args.prune_weights, _progress)
    write_compressed(compressed, args.output)
    weights, size = count_weights(compressed["model"]), os.path.getsize(args.output)
    again = ", which was compressed already," if isinstance(checkpoint["model"], Unsealed) else ""
    bits = f"{8 * size / max(1, weights):.2f} bits each"
    print(f"compressed {args.input}{again} into {args.output}: {weights:,} weights in {size:,} bytes, {bits}")


def _progress(names):
    console = Console(stderr=True)
    return track(names, "compressing", console=console, transient=True, disable=not console.is_terminal)
