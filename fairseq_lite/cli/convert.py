from fairseq_lite.checkpoints import refuse_overwriting, write_checkpoint
from fairseq_lite.cli import no_more_arguments
from fairseq_lite.converters import CONVERTERS


def add_arguments(parser) -> None:
    parser.add_argument("format", choices=sorted(CONVERTERS), help="whose format the input has")
    parser.add_argument("input", metavar="IN", help="published checkpoint")
    parser.add_argument("output", metavar="OUT", help="checkpoint to write")


def run(args, rest) -> None:
    no_more_arguments(rest)
    refuse_overwriting(args.output, [args.input])
    checkpoint = CONVERTERS[args.format](args.input)
    write_checkpoint(checkpoint, args.output)
    parameters = sum(tensor.numel() for tensor in checkpoint["model"].values())
    print(f"converted {args.input} into {args.output}: {checkpoint['cfg']['model']._name}, {parameters:,} numbers")
