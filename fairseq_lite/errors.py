class UserError(ValueError):
    """A user's mistake, in one line that names the option or file, the value and what would be right."""
