"""What an exception can be asked: its causes, and the local variables of the functions that it left."""

from __future__ import annotations

import traceback
from types import FrameType
from typing import Any, Dict, List, Optional


def causes(error: BaseException) -> List[BaseException]:
    """The exception with those that led to it, the first cause first."""
    chain: List[BaseException] = []
    following: Optional[BaseException] = error
    while following is not None and all(following is not known for known in chain):
        chain.append(following)
        hidden = None if following.__suppress_context__ else following.__context__
        following = following.__cause__ or hidden
    return chain[::-1]


def frames(error: BaseException) -> List[FrameType]:
    """Of the functions that the exception left, the outermost first."""
    return [frame for frame, _ in traceback.walk_tb(error.__traceback__)]


def variables(error: BaseException, function: str, module: str = "") -> Dict[str, Any]:
    """The local variables of a function that the exception left, empty if it did not pass there."""
    for frame in frames(error):
        if frame.f_code.co_name == function and frame.f_globals.get("__name__", "").startswith(module):
            return frame.f_locals
    return {}


def text(error: BaseException) -> str:
    """The message, of a KeyError too, whose text is otherwise in quotes."""
    return str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)


def first_line(error: BaseException, longest: int = 200) -> str:
    """The beginning of the message, with the kind of the exception where the message alone says little."""
    lines = text(error).strip().splitlines()
    line = lines[0][:longest] if lines else ""
    return line if " " in line and not isinstance(error, KeyError) else f"{type(error).__name__}: {line}".rstrip(": ")
