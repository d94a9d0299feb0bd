"""The table and the picture of a chain of compression.

Usage: python summary.py CHAIN.tsv [--plot FILE.png]

CHAIN.tsv has a line for each step: name, bytes, BLEU. Prints a markdown table.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import NamedTuple


class Step(NamedTuple):
    name: str
    size: int
    bleu: float


def read(path: Path) -> list[Step]:
    """The steps of a file; raises SystemExit for a line that is none."""
    steps = []
    for number, line in enumerate(path.read_text().splitlines(), start=1):
        try:
            name, size, bleu = line.split("\t")
            steps.append(Step(name, int(size), float(bleu)))
        except ValueError:
            raise SystemExit(f"{path}, line {number}: not name, bytes and BLEU between tabs: {line!r}") from None
    return steps


def table(steps: list[Step]) -> str:
    """Bytes and BLEU of every step, and both against the first."""
    lines = ["| step | bytes | times smaller | BLEU | difference |", "|---|---|---|---|---|"]
    first = steps[0]
    for step in steps:
        ratio, difference = first.size / step.size, step.bleu - first.bleu
        lines.append(f"| {step.name} | {step.size:,} | {ratio:.1f} | {step.bleu:.2f} | {difference:+.2f} |")
    return "\n".join(lines)


def plot(steps: list[Step], path: Path) -> None:
    """A bar of bytes for each step, with its BLEU on top."""
    from matplotlib import pyplot

    figure, axis = pyplot.subplots(figsize=(9, 3.8), layout="constrained")
    bars = axis.bar([step.name.replace(" ", "\n") for step in steps], [step.size / 1e6 for step in steps])
    axis.bar_label(bars, [f"{step.size / 1e6:.2f} MB\nBLEU {step.bleu:.1f}" for step in steps], padding=2)
    axis.set(yscale="log", ylabel="megabytes on disk", title="Bytes along the chain, with BLEU")
    axis.margins(y=0.25)
    axis.yaxis.set_major_formatter("{x:g}")
    axis.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("chain", type=Path, metavar="CHAIN.tsv")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="picture to write")
    args = parser.parse_args()
    steps = read(args.chain)
    print(table(steps))
    if args.plot:
        plot(steps, args.plot)


if __name__ == "__main__":
    main()
