"""Users' mistakes and failures of the machine, which fairseq reports with a traceback, explained in one line."""

from __future__ import annotations

from typing import Callable, Optional, Tuple

from fairseq_lite.errors import UserError
from fairseq_lite.explain.checkpoints import misfit, unknown_architecture, unreadable_checkpoint
from fairseq_lite.explain.commands import (
    checkpoint_without_training,
    refused_by_fairseq,
    refused_value,
    unbuildable,
    unloadable_checkpoint,
)
from fairseq_lite.explain.system import system_failure
from fairseq_lite.explain.traces import causes

# Asked in turn of the first cause, then of what followed from it.
_EXPLANATIONS: Tuple[Callable[[BaseException], Optional[str]], ...] = (
    refused_by_fairseq,
    system_failure,
    unloadable_checkpoint,
    checkpoint_without_training,
    refused_value,
    unbuildable,
)


def one_line(error: BaseException) -> Optional[str]:
    """Explain a user's mistake or a failure of the machine, from its first cause; None for another exception."""
    chain = causes(error)
    # already explained, by this package
    explained = [str(cause) for cause in chain if isinstance(cause, UserError)][-1:]
    lines = explained or (explain(cause) for cause in chain for explain in _EXPLANATIONS)
    line = next(filter(None, lines), None)
    return " ".join(line.split()) if line else None


__all__ = ["misfit", "one_line", "unknown_architecture", "unreadable_checkpoint"]
