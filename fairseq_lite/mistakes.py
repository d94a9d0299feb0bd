"""Users' mistakes that fairseq reports with a traceback, told in one line."""

from __future__ import annotations

import os
import re
import sys
import traceback
from types import TracebackType
from typing import Any, Callable, Dict, Optional, Tuple

from fairseq.models import ARCH_MODEL_REGISTRY

from fairseq_lite.errors import UserError


def unknown_architecture(path: str, name: Optional[str]) -> str:
    return (
        f"{path}: architecture {name!r} is not known to fairseq or this plugin; "
        "checkpoints of the method's authors go through `fairseq-lite convert` first"
    )


def unreadable_checkpoint(path: str, error: BaseException) -> str:
    """Say why a file could not be read as a checkpoint."""
    if not os.path.isfile(path):
        return f"{path}: no such file; give the path of a checkpoint (.pt)"
    refused = re.search(r"Unsupported (?:global: GLOBAL|class) (\S+)", str(error))
    if refused:
        return f"{path}: holds an object of {refused[1]}, not only tensors and options, and is not safe to load"
    size = os.path.getsize(path)
    # torch's refusal of what is not weights-only explains itself at length
    told = "Weights only load failed" in str(error)
    reason = type(error).__name__ if told else str(error).strip().split("\n")[0][:120]
    return f"{path}: {size} bytes that are not a readable checkpoint, truncated or of another kind ({reason})"


def _frame_variables(trace: Optional[TracebackType], function: str) -> Dict[str, Any]:
    """The local variables of a function that an exception left, empty if it did not pass there."""
    for frame, _ in traceback.walk_tb(trace):
        if frame.f_code.co_name == function:
            return frame.f_locals
    return {}


def _failed_load(error: BaseException, trace: Optional[TracebackType]) -> Optional[str]:
    """Tell of an exception that left fairseq's loader of checkpoints; None if it came from elsewhere."""
    variables = _frame_variables(trace, "load_checkpoint_to_cpu")
    if "path" not in variables:
        return None
    content = variables.get("state")
    args = content.get("args") if isinstance(content, dict) else None
    if args is not None and getattr(args, "arch", None) not in ARCH_MODEL_REGISTRY:
        return unknown_architecture(variables["path"], getattr(args, "arch", None))
    return unreadable_checkpoint(str(variables["path"]), error)


def _too_long(match: re.Match, trace: Optional[TracebackType]) -> str:
    return (
        f"--max-source-positions/--max-target-positions: sample {match[1]} has {match[2]} tokens and the "
        f"model takes {match[3]}; shorten it or pass --skip-invalid-size-inputs-valid-test"
    )


def _different_dictionaries(match: re.Match, trace: Optional[TracebackType]) -> str:
    return (
        "--share-all-embeddings: the source and the target dictionary differ; "
        "binarise with fairseq-preprocess --joined-dictionary"
    )


def _missing_file(match: re.Match, trace: Optional[TracebackType]) -> str:
    return f"--path {match[1]}: no such file; give the path of a checkpoint (.pt)"


def _model_unknown(match: re.Match, trace: Optional[TracebackType]) -> str:
    path = _frame_variables(trace, "load_model_ensemble_and_task").get("filename", "--arch")
    return unknown_architecture(path, match[1])


def _weights_do_not_fit(match: re.Match, trace: Optional[TracebackType]) -> str:
    path = _frame_variables(trace, "load_model_ensemble_and_task").get("filename", "the checkpoint")
    differences = " ".join(match[1].split())
    return f"{path}: its weights do not fit the model or the dictionaries: {differences}"


def _other_architecture(match: re.Match, trace: Optional[TracebackType]) -> str:
    return f"{match[1]}: a checkpoint of another architecture or other dictionaries than --arch and the data"


def _in_worker(match: re.Match, trace: Optional[TracebackType]) -> str:
    return match[1]


# What fairseq says, and who tells it in one line.
_MISTAKES: Tuple[Tuple[str, Callable[[re.Match, Optional[TracebackType]], str]], ...] = (
    (r"Size of sample #(\S+) is invalid \(=(.+?)\) since max_positions=(.+?), skip", _too_long),
    (r"--share-all-embeddings requires a joined dictionary", _different_dictionaries),
    (r"Model file not found: (.+)", _missing_file),
    (r"(?s)Could not infer model type from .* Requested model type: (\S+)", _model_unknown),
    (r"(?s)Error\(s\) in loading state_dict for \w+:(.+)", _weights_do_not_fit),
    (r"Cannot load model parameters from checkpoint (.+?); please", _other_architecture),
    (r"fairseq_lite\.errors\.UserError: (.+)", _in_worker),
)


def one_line(error: BaseException) -> Optional[str]:
    """Tell a user's mistake in one line, or None where the exception is not known to be one."""
    if isinstance(error, UserError):
        return str(error)
    for pattern, tell in _MISTAKES:
        match = re.search(pattern, str(error))
        if match:
            return tell(match, error.__traceback__)
    return _failed_load(error, error.__traceback__)


def print_in_one_line() -> None:
    """Let fairseq's commands end on one line, without a traceback, where the user made a mistake."""
    if "fairseq_cli" not in sys.modules:
        return  # a program of its own, whose author wants the traceback
    previous = sys.excepthook

    def excepthook(kind, error, trace):
        line = one_line(error)
        if line is None:
            previous(kind, error, trace)
        else:
            print(f"{os.path.basename(sys.argv[0])}: error: {line}", file=sys.stderr)

    sys.excepthook = excepthook
