"""fairseq-lite shrink: a checkpoint without its pruned neurons."""

from rich.table import Table

from fairseq_lite.checkpoints import (
    Checkpoint,
    distinct,
    model_of,
    read_checkpoint,
    write_checkpoint,
)
from fairseq_lite.cli import console
from fairseq_lite.compression.states import Unsealed
from fairseq_lite.measure.mult_adds import count_mult_adds
from fairseq_lite.output_files import check_output
from fairseq_lite.pruning.shrinking import shrink


def add_arguments(parser) -> None:
    parser.add_argument("input", metavar="IN", help="checkpoint whose pruned neurons are rows of zeros")
    parser.add_argument("output", metavar="OUT", help="checkpoint to write, of an architecture pruned_...")


def run(args) -> None:
    check_output(args.output, [args.input])
    masked = read_checkpoint(args.input)
    shrunk = shrink(masked, args.input)
    write_checkpoint(shrunk, args.output)
    if isinstance(masked["model"], Unsealed):
        print(f"{args.output} is a plain checkpoint; to make it small as {args.input} was, compress it again")
    print_table({args.input: _sizes(masked, args.input), args.output: _sizes(shrunk, args.output)})


def _sizes(checkpoint: Checkpoint, path: str):
    """Parameters, bytes of the weights, and Mult-Adds."""
    counted = count_mult_adds(model_of(checkpoint, path))
    weights = sum(tensor.numel() * tensor.element_size() for tensor in distinct(checkpoint["model"]).values())
    return counted.parameters, weights, counted.total


def print_table(sizes) -> None:
    """One row a checkpoint, and one with what is left of the first in the second."""
    table = Table("checkpoint", box=None)
    for title in ("parameters", "bytes of weights", "Mult-Adds"):
        table.add_column(title, justify="right")
    for path, row in sizes.items():
        table.add_row(path, *(f"{size:,}" for size in row))
    before, after = sizes.values()
    table.add_row("left", *(f"{new / old:.1%}" for old, new in zip(before, after)))
    console().print(table)
