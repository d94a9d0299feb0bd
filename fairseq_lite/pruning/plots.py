"""Pictures of pruning, drawn with matplotlib."""

from __future__ import annotations

import os

from fairseq_lite.errors import UserError
from fairseq_lite.output_files import write_atomically
from fairseq_lite.pruning.sparsity import Sparsity

PICTURES = (".png", ".svg", ".pdf")


def _pyplot():
    try:
        import matplotlib
    except ImportError:
        raise UserError("--plot: needs matplotlib; pip install 'fairseq-lite[plots]'") from None
    matplotlib.use("Agg")
    from matplotlib import pyplot

    return pyplot


def check_picture(name: str, path: str) -> None:
    """Raise UserError for a file whose suffix names no kind of picture; `name`: the argument to blame."""
    if os.path.splitext(path)[1] not in PICTURES:
        raise UserError(f"{name} {path}: must end in {', '.join(PICTURES)}")


def plot_sparsity(sparsity: Sparsity, path: str) -> None:
    """Write a heat map of the pruned part of each component (columns) and layer (rows); a picture named by suffix."""
    pyplot = _pyplot()
    rows, columns = [*sparsity.layers, "all"], [*sparsity.components, "all"]
    parts = [
        [sparsity.part("" if row == "all" else row, "" if column == "all" else column) for column in columns]
        for row in rows
    ]
    figure, axes = pyplot.subplots(figsize=(1.6 + 0.62 * len(columns), 1.4 + 0.34 * len(rows)), layout="constrained")
    image = axes.imshow(parts, cmap="YlOrRd", vmin=0, vmax=1, aspect="auto")
    axes.set_xticks(range(len(columns)), columns)
    axes.set_yticks(range(len(rows)), rows)
    for y, row in enumerate(parts):
        for x, part in enumerate(row):
            if part == part:
                axes.text(x, y, f"{part:.0%}", ha="center", va="center", fontsize=8, color="w" if part > 0.7 else "k")
    axes.set_title(f"pruned {sparsity.unit} by component and layer" + (sparsity.note and f"\n({sparsity.note})"))
    figure.colorbar(image, format=lambda part, _: f"{part:.0%}")
    with write_atomically(path) as file:
        figure.savefig(file, dpi=150, format=os.path.splitext(path)[1][1:])
    pyplot.close(figure)
