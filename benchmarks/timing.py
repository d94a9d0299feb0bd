"""What the benchmarks share: medians of interleaved times, markdown tables, and where they are written."""

from __future__ import annotations

import argparse
import math
import statistics
from pathlib import Path
from typing import Callable, Iterable, Sequence

from fairseq_lite.measure.timing import environment, milliseconds_in_turns

__all__ = ["THREADS", "environment", "markdown_table", "median_milliseconds", "output_parser", "tell"]

THREADS = 2


def median_milliseconds(
    functions: Sequence[Callable[[], object]], repetitions: int = 20, hopeless: float = math.inf
) -> list[float]:
    """Median wall-clock time of each function, in milliseconds, after one call of each to warm up.

    The functions take turns, and a hopeless one is timed no further: see milliseconds_in_turns.
    """
    for function in functions:
        function()
    return [statistics.median(samples) for samples in milliseconds_in_turns(functions, range(repetitions), hopeless)]


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)


def output_parser(description: str) -> argparse.ArgumentParser:
    """A parser with --output, of a benchmark with this docstring."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, metavar="FILE.md", help="markdown file to write, beside printing")
    return parser


def tell(text: str, output: Path | None) -> None:
    """Print a result, and write it where --output says."""
    print(text)
    if output:
        output.write_text(text + "\n", encoding="utf-8")
