"""Files of torch.save, looked at before torch reads them: torch ignores the checksums of its own archives."""

from __future__ import annotations

import os
import zipfile
from typing import Any, Optional

import torch

from fairseq_lite.errors import UserError

# What deflated bytes may grow to, so that a small file cannot fill the memory: options shrink to a tenth at most.
_INFLATED_AT_LEAST = 16 << 20
_INFLATED_TIMES = 100


def largest_inflated(size: int) -> int:
    """Bytes that `size` deflated bytes of text or of pickled options may inflate to."""
    return _INFLATED_AT_LEAST + _INFLATED_TIMES * size


def load_file(path: str) -> Any:
    """What torch.save wrote into a file, on the CPU; raises UserError where the archive is damaged."""
    require_whole_archive(path)
    return torch.load(path, map_location="cpu")


def require_whole_archive(path: str) -> None:
    """Raise UserError that names the damaged member where an archive is not what was written, by its CRC-32.

    Other files pass: torch wrote none before release 1.6, and what is no checkpoint is for the reader to refuse.
    """
    if not (os.path.isfile(path) and zipfile.is_zipfile(path)):
        return
    try:
        with zipfile.ZipFile(path) as archive:
            damage = _damage(archive)
    except (OSError, MemoryError):
        raise
    except Exception as error:  # zipfile has no one class for directories that make no sense
        damage = f"its directory cannot be read ({error})"
    if damage:
        size = os.path.getsize(path)
        raise UserError(f"{path}: this checkpoint of {size} bytes is damaged: {damage}; copy or write it again")


def _damage(archive: zipfile.ZipFile) -> Optional[str]:
    for member in archive.infolist():
        if member.compress_type != zipfile.ZIP_STORED and member.file_size > largest_inflated(member.compress_size):
            return f"its member {member.filename} inflates {member.compress_size} bytes to {member.file_size}"
    damaged = archive.testzip()
    return damaged and f"the checksum of its member {damaged} is wrong"
