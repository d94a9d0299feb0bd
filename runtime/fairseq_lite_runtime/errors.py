"""What a user can mend, in one line."""


class FolderError(ValueError):
    """An exported folder that cannot be run: its path, what is wrong with it and what would be right.

    Examples:
        >>> from fairseq_lite_runtime import FolderError, Translator
        >>> try:
        ...     Translator("none")
        ... except FolderError as error:
        ...     print(error)
        none: no such folder; give one that fairseq-lite export wrote
    """


class InputError(ValueError):
    """Text or an option that the model does not take.

    Examples:
        >>> from fairseq_lite_runtime import InputError, Translator
        >>> try:
        ...     Translator("translator").translate(["one"], beam=0)
        ... except InputError as error:
        ...     print(error)
        beam 0: must be at least 1
    """
