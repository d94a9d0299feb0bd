"""The mistakes of users, and how a command ends on them."""

from contextlib import contextmanager
from typing import Any, Iterator

# Exit codes of a command: of a mistake that it reports, and of an interrupt, as shells have it.
MISTAKE, INTERRUPTED = 2, 130


class UserError(ValueError):
    """A user's mistake: its message is the one line that names the option or the file, and what would be right.

    Examples:
        >>> from fairseq_lite import UserError, load_model
        >>> try:
        ...     load_model("none.pt")
        ... except UserError as error:
        ...     print(error)
        none.pt: no such file or directory
    """


class ArgumentError(UserError):
    """A library function's argument with a value that it cannot take; a command puts its option in the place of it."""

    def __init__(self, argument: str, value: Any, problem: str):
        self.argument, self.value, self.problem = argument, value, problem
        super().__init__(_line(argument, value, problem))


@contextmanager
def blame_options(**options: str) -> Iterator[None]:
    """Within, an ArgumentError names a command's option: the one given here, or --ARGUMENT by its own name."""
    try:
        yield
    except ArgumentError as error:
        option = options.get(error.argument, "--" + error.argument.replace("_", "-"))
        raise UserError(_line(option, error.value, error.problem)) from error


def _line(name: str, value: Any, problem: str) -> str:
    return f"{name} {value}".rstrip() + f": {problem}"


def exit_status(error: BaseException) -> int:
    """The exit code of a command that ends on this exception."""
    return INTERRUPTED if isinstance(error, KeyboardInterrupt) else MISTAKE
