"""Files that commands write: refused before the work if they cannot be written, and never half of one left behind."""

from __future__ import annotations

import os
import secrets
import stat
from contextlib import contextmanager
from typing import IO, Iterator, Optional, Sequence

from fairseq_lite.errors import UserError


def check_output(output: str, inputs: Sequence[str] = ()) -> None:
    """Raise UserError where a file cannot be written, or is one of the inputs."""
    if not output:
        raise UserError("the output has an empty name; name a file to write")
    if os.path.isdir(output) or output.endswith(os.sep):
        raise UserError(f"{output}: is a folder; name a file in it for the output")
    target = os.path.realpath(output)
    _check_folder(output, os.path.dirname(target))
    found = _status(output, target)
    if found is None:
        return
    if not stat.S_ISREG(found.st_mode):
        raise UserError(f"{output}: is a device or a pipe; name a file for the output")
    if not (os.access(target, os.W_OK) and found.st_mode & 0o222):
        raise UserError(f"{output}: is read-only; name another file, or make it writable first")
    if any(os.path.exists(path) and os.path.samefile(output, path) for path in inputs):
        raise UserError(f"{output}: is an input too; name another file for the output")


def _check_folder(output: str, folder: str) -> None:
    if not os.path.isdir(folder):
        raise UserError(f"{output}: the folder {folder} does not exist; make it first")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise UserError(f"{output}: the folder {folder} is read-only; name a file elsewhere")


def _status(output: str, target: str) -> Optional[os.stat_result]:
    try:
        return os.stat(target)
    except FileNotFoundError:
        return None
    except OSError as error:  # too long a name, or a circle of links
        raise UserError(f"{output}: cannot be written ({error.strerror}); name another file") from None


@contextmanager
def write_atomically(path: str, text: bool = False) -> Iterator[IO]:
    """A file to write, of bytes or of UTF-8 text, that takes its name once it is whole and on the disk.

    Until then it has a name of its own in the same folder, under which a failure removes it; what `path` named stays.
    Through a link, the file that it leads to is replaced. Raises UserError where the system refuses to write.
    """
    target = os.path.realpath(path)
    folder, name = os.path.split(target)
    temporary = os.path.join(folder, f"{name[:40]}.{secrets.token_hex(6)}.tmp")
    try:
        with open(temporary, "x" if text else "xb", encoding="utf-8" if text else None) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        if os.path.exists(target):
            os.chmod(temporary, stat.S_IMODE(os.stat(target).st_mode))
        os.replace(temporary, target)
        _sync_folder(folder)
    except BaseException as error:
        if os.path.exists(temporary):
            os.remove(temporary)
        refused = _system_error(error) if isinstance(error, Exception) else None
        if refused is None:
            raise
        raise UserError(f"{path}: cannot be written ({refused.strerror}); nothing was changed") from error


def _system_error(error: Optional[BaseException]) -> Optional[OSError]:
    """The refusal of the system, which torch.save buries under an error of its own when it closes its archive."""
    while error is not None and not isinstance(error, UserError):
        if isinstance(error, OSError) and error.strerror:
            return error
        error = error.__cause__ or error.__context__
    return None


def _sync_folder(folder: str) -> None:
    """Let the new name, too, survive a loss of power, where the system can open folders."""
    if hasattr(os, "O_DIRECTORY"):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
