"""The mistakes of users, and how a command ends on them."""

# Exit codes of a command: of a mistake that it reports, and of an interrupt, as shells have it.
MISTAKE, INTERRUPTED = 2, 130


class UserError(ValueError):
    """A user's mistake: its message is the one line that names the option or the file, and what would be right."""


def exit_status(error: BaseException) -> int:
    """The exit code of a command that ends on this exception."""
    return INTERRUPTED if isinstance(error, KeyboardInterrupt) else MISTAKE
