"""Whether a fairseq is installed that this plugin runs in."""

_INSTALL_HINT = (
    "install this package with one of its extras:"
    " [ve] or [fixed] on Python 3.11 and 3.12 (pip install '.[ve]'),"
    " [legacy] on Python 3.9 and 3.10 (pip install '.[legacy]')"
)


def require_fairseq():
    """Raises an ImportError naming the extras of this package when no fairseq can be imported."""
    try:
        import fairseq  # noqa: F401
    except ModuleNotFoundError as error:
        if error.name != "fairseq":
            raise
        raise ImportError(f"fairseq_lite needs fairseq: {_INSTALL_HINT}") from None
    except (AttributeError, ImportError, ValueError) as error:
        # the official release, for one, fails on Python 3.11 with a ValueError
        raise ImportError(f"fairseq is installed but cannot be imported ({error}): {_INSTALL_HINT}") from error
