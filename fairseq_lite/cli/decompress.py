from fairseq_lite.checkpoints import read_checkpoint, write_checkpoint
from fairseq_lite.cli import no_more_arguments
from fairseq_lite.output_files import check_output


def add_arguments(parser) -> None:
    parser.add_argument("input", metavar="IN", help="checkpoint that `fairseq-lite compress` wrote")
    parser.add_argument("output", metavar="OUT", help="file to write, with weights in float32")


def run(args, rest) -> None:
    no_more_arguments(rest)
    check_output(args.output, [args.input])
    # Reading unpacks.
    write_checkpoint(read_checkpoint(args.input), args.output)
    print(f"decompressed {args.input} into {args.output}")
