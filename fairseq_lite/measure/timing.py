"""Interleaved timing, and the conditions under which it was done."""

from __future__ import annotations

import math
import time
from importlib.metadata import PackageNotFoundError, version
from typing import Callable, Iterable, List, Sequence

import fairseq
import torch

FAIRSEQ_DISTRIBUTIONS = ("ve-fairseq", "fairseq-fixed", "fairseq")


def milliseconds_in_turns(
    functions: Sequence[Callable[[], object]], rounds: Iterable[object], hopeless: float = math.inf
) -> List[List[float]]:
    """Wall-clock times of each function, in milliseconds, one a round.

    The functions take turns, so that whatever else the machine does falls on all of them alike. One whose best time
    of the first three is `hopeless` times the best of all is timed no further.
    """
    times: List[List[float]] = [[] for _ in functions]
    for _ in rounds:
        best = [min(samples, default=0.0) for samples in times]
        for function, samples, own_best in zip(functions, times, best):
            if len(samples) >= 3 and own_best > hopeless * min(best):
                continue
            start = time.perf_counter()
            function()
            samples.append(1e3 * (time.perf_counter() - start))
    return times


def fairseq_distribution() -> str:
    """Name and version of the installed package that provides fairseq, or the version alone of a bare checkout."""
    for name in FAIRSEQ_DISTRIBUTIONS:
        try:
            return f"{name} {version(name)}"
        except PackageNotFoundError:
            continue
    return f"fairseq {fairseq.__version__}"


def environment() -> str:
    """The line that tells under which conditions something was timed."""
    return f"{torch.get_num_threads()} threads, torch {torch.__version__}, {fairseq_distribution()}"
