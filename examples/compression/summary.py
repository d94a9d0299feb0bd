"""The table and the picture of a model in fewer and fewer bits.

Usage: python summary.py BITS.tsv [--plot FILE.png]

BITS.tsv has a line for each file: name, bytes, BLEU. Prints a markdown table.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import NamedTuple

FINETUNED = ", finetuned"


class Row(NamedTuple):
    name: str
    size: int
    bleu: float


def read(path: Path) -> list[Row]:
    """The rows of a file; raises SystemExit for a line that is none."""
    rows = []
    for number, line in enumerate(path.read_text().splitlines(), start=1):
        try:
            name, size, bleu = line.split("\t")
            rows.append(Row(name, int(size), float(bleu)))
        except ValueError:
            raise SystemExit(f"{path}, line {number}: not name, bytes and BLEU between tabs: {line!r}") from None
    return rows


def table(rows: list[Row]) -> str:
    """Bytes and BLEU of every row, and both against the first."""
    lines = ["| weights | bytes | times smaller | BLEU | difference |", "|---|---|---|---|---|"]
    first = rows[0]
    for row in rows:
        ratio, difference = first.size / row.size, row.bleu - first.bleu
        lines.append(f"| {row.name} | {row.size:,} | {ratio:.1f} | {row.bleu:.2f} | {difference:+.2f} |")
    return "\n".join(lines)


def plot(rows: list[Row], path: Path) -> None:
    """BLEU over bytes, with a line for what is finetuned and one for what is not."""
    from matplotlib import pyplot

    figure, axis = pyplot.subplots(figsize=(6.4, 4), layout="constrained")
    kinds = {"as it is": [row for row in rows if FINETUNED not in row.name]}
    kinds["finetuned"] = rows[:1] + [row for row in rows if FINETUNED in row.name]
    for label, found in kinds.items():
        axis.plot([row.size / 1e6 for row in found], [row.bleu for row in found], "o-", label=label)
    for row in kinds["as it is"]:
        axis.annotate(row.name, (row.size / 1e6, row.bleu), (4, -12), textcoords="offset points")
    axis.set(xscale="log", xlabel="megabytes on disk", ylabel="BLEU")
    axis.xaxis.set_major_formatter("{x:g}")
    axis.spines[["top", "right"]].set_visible(False)
    axis.legend()
    figure.savefig(path, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", type=Path, metavar="BITS.tsv")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="picture to write")
    args = parser.parse_args()
    rows = read(args.rows)
    print(table(rows))
    if args.plot:
        plot(rows, args.plot)


if __name__ == "__main__":
    main()
