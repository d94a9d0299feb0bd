"""fairseq-lite sparsity: which part of each component and layer of a checkpoint is pruned."""

from rich.table import Table

from fairseq_lite.checkpoints import read_checkpoint
from fairseq_lite.cli import console
from fairseq_lite.output_files import check_output
from fairseq_lite.pruning.plots import check_picture, plot_sparsity
from fairseq_lite.pruning.sparsity import Sparsity, sparsity_of


def add_arguments(parser) -> None:
    parser.add_argument("checkpoint", help="masked or shrunk checkpoint")
    parser.add_argument("--plot", metavar="FILE.png", help="heat map to write")


def run(args) -> None:
    if args.plot is not None:
        check_picture("--plot", args.plot)
        check_output(args.plot, [args.checkpoint])
    sparsity = sparsity_of(read_checkpoint(args.checkpoint), args.checkpoint)
    print_table(sparsity)
    if args.plot is not None:
        plot_sparsity(sparsity, args.plot)


def print_table(sparsity: Sparsity) -> None:
    """One row a layer, one column a component."""
    title = f"% of {sparsity.unit} pruned" + (sparsity.note and f" ({sparsity.note})")
    table = Table(box=None, title=title, title_justify="left")
    table.add_column("layer", no_wrap=True)
    for component in (*sparsity.components, "all"):
        table.add_column(component, justify="right", no_wrap=True)
    for layer in (*sparsity.layers, ""):
        parts = [sparsity.part(layer, component) for component in (*sparsity.components, "")]
        table.add_row(layer or "all", *(f"{100 * part:.0f}" if part == part else "" for part in parts))
    console().print(table)
