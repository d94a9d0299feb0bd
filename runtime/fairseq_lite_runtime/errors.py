"""What a user can mend, in one line."""


class FolderError(ValueError):
    """An exported folder that cannot be run: its path, what is wrong with it and what would be right."""


class InputError(ValueError):
    """Text or an option that the model does not take."""
