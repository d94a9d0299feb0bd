"""Failures of the machine and of files, which are no fault of what was being read or computed."""

from __future__ import annotations

import errno
import os
import re
from typing import Optional

from fairseq_lite.explain.traces import text

_NO_MEMORY = r"out of memory|can't allocate memory|not enough memory|[Cc]annot allocate memory|bad_alloc"
_UNWRITTEN = r"PytorchStreamWriter failed|file write failed|unexpected pos \d+ vs"


def system_failure(error: BaseException) -> Optional[str]:
    """Say that a command was interrupted, lacks memory or cannot open or write a file; None for another exception."""
    if isinstance(error, KeyboardInterrupt):
        return "interrupted"
    if isinstance(error, MemoryError) or isinstance(error, RuntimeError) and re.search(_NO_MEMORY, text(error)):
        return "not enough memory; take smaller batches (--max-tokens, --batch-size) or a smaller model"
    if isinstance(error, RuntimeError) and re.search(_UNWRITTEN, text(error)):
        return "a checkpoint could not be written; is the disk full?"
    # torch seeks in a truncated file to places before its start
    if isinstance(error, IsADirectoryError) and error.filename:
        return f"{error.filename}: is a folder; give the path of a file"
    if isinstance(error, OSError) and error.strerror and error.errno != errno.EINVAL:
        reason = error.strerror[0].lower() + error.strerror[1:]
        return f"{os.fspath(error.filename)}: {reason}" if isinstance(error.filename, (str, os.PathLike)) else reason
    return None
