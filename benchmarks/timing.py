"""Medians of interleaved times and markdown tables, shared by the benchmarks."""

from __future__ import annotations

import math
import statistics
from typing import Callable, Iterable, Sequence

from fairseq_lite.measure.timing import environment, milliseconds_in_turns

__all__ = ["THREADS", "environment", "markdown_table", "median_milliseconds"]

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
