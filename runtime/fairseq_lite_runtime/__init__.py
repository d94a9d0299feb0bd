"""Runs what `fairseq-lite export` wrote: Translator, Generator, Classifier, Stepper; errors are FolderError."""

from importlib import import_module

_HOMES = {
    "Translator": "translator",
    "Generator": "generator",
    "Classifier": "classifier",
    "Stepper": "stepper",
    "Hypothesis": "search",
    "FolderError": "errors",
    "InputError": "errors",
}
__all__ = list(_HOMES)


def __getattr__(name):
    """Import a class when it is asked for, so that a command's --help does not wait for onnxruntime."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
