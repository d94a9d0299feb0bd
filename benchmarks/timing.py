"""Interleaved timing and markdown tables, shared by the benchmarks."""

from __future__ import annotations

import math
import statistics
import time
from importlib.metadata import PackageNotFoundError, version
from typing import Callable, Iterable, Sequence

import torch

THREADS = 2
FAIRSEQ_DISTRIBUTIONS = ("ve-fairseq", "fairseq-fixed", "fairseq")


def median_milliseconds(
    functions: Sequence[Callable[[], object]], repetitions: int = 20, hopeless: float = math.inf
) -> list[float]:
    """Median wall-clock time of each function, in milliseconds.

    The functions take turns, so that whatever else the machine does falls on all of them alike. One whose best time
    of the first three is `hopeless` times the best of all is timed no further.
    """
    for function in functions:
        function()
    times: list[list[float]] = [[] for _ in functions]
    for repetition in range(repetitions):
        best = [min(samples, default=0.0) for samples in times]
        for function, samples, own_best in zip(functions, times, best):
            if repetition >= 3 and own_best > hopeless * min(best):
                continue
            start = time.perf_counter()
            function()
            samples.append(time.perf_counter() - start)
    return [1e3 * statistics.median(samples) for samples in times]


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)


def fairseq_distribution() -> str:
    """Name and version of the installed package that provides fairseq."""
    for name in FAIRSEQ_DISTRIBUTIONS:
        try:
            return f"{name} {version(name)}"
        except PackageNotFoundError:
            continue
    raise SystemExit("no fairseq distribution is installed: pip install .[ve]")


def environment() -> str:
    """The line that tells under which conditions a table was measured."""
    return f"{torch.get_num_threads()} threads, torch {torch.__version__}, {fairseq_distribution()}"
