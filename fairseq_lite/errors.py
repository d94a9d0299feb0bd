"""Mistakes of the user's, told in one line."""

from __future__ import annotations

import os
import re
import sys
import traceback
from types import TracebackType
from typing import Callable, Optional, Tuple


class UserError(ValueError):
    """A user's mistake, in one line that names the option or file, the value and what would be right."""


def _loaded_file(trace: Optional[TracebackType]) -> str:
    """The checkpoint that fairseq was reading when an exception left its loader."""
    for frame, _ in traceback.walk_tb(trace):
        if frame.f_code.co_name == "load_checkpoint_to_cpu":
            return str(frame.f_locals.get("path", "checkpoint"))
    return ""


def _too_long(match: re.Match, trace) -> str:
    return (
        f"--max-source-positions/--max-target-positions: sample {match[1]} has {match[2]} tokens and the model "
        f"takes {match[3]}; shorten it or pass --skip-invalid-size-inputs-valid-test"
    )


def _different_dictionaries(match: re.Match, trace) -> str:
    return (
        "--share-all-embeddings: the source and the target dictionary differ; "
        "binarise with fairseq-preprocess --joined-dictionary"
    )


# Exceptions that fairseq raises on a user's mistake: what they say, and our line instead.
_FAIRSEQ_MISTAKES: Tuple[Tuple[str, Callable[[re.Match, Optional[TracebackType]], str]], ...] = (
    (r"Size of sample #(\S+) is invalid \(=(.+?)\) since max_positions=(.+?), skip", _too_long),
    (r"--share-all-embeddings requires a joined dictionary", _different_dictionaries),
)


def one_line(error: BaseException, trace: Optional[TracebackType]) -> Optional[str]:
    """Tell a user's mistake in one line, or None where the exception is not known to be one."""
    if isinstance(error, UserError):
        return str(error)
    for pattern, tell in _FAIRSEQ_MISTAKES:
        match = re.search(pattern, str(error))
        if match:
            return tell(match, trace)
    path = _loaded_file(trace)
    if path:
        return unreadable_checkpoint(path, error)
    return None


def unreadable_checkpoint(path: str, error: BaseException) -> str:
    """Say in one line why a file could not be read as a checkpoint."""
    if not os.path.isfile(path):
        return f"{path}: no such file; give the path of a checkpoint (.pt)"
    refused = re.search(r"Unsupported (?:global|class): GLOBAL (\S+)|Unsupported class (\S+)", str(error))
    if refused:
        return f"{path}: holds an object of {refused[1] or refused[2]}, which is not safe to load; only tensors and options are"
    reason = str(error).strip().split("\n")[0][:120] or type(error).__name__
    return f"{path}: {os.path.getsize(path)} bytes that are not a readable checkpoint, truncated or of another kind ({reason})"


def print_mistakes_in_one_line() -> None:
    """Let commands end on one line, without a traceback, where the user made a mistake."""
    previous = sys.excepthook

    def excepthook(kind, error, trace):
        line = one_line(error, trace)
        if line is None:
            previous(kind, error, trace)
        else:
            print(f"{os.path.basename(sys.argv[0])}: error: {line}", file=sys.stderr)

    sys.excepthook = excepthook
