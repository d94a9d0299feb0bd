"""What the plugin needs of the installed fairseq and torch before anything else is imported."""

import argparse
import codecs
import functools
import logging
import os
import sys
from types import SimpleNamespace

import numpy as np
import torch

try:
    from numpy._core import multiarray
except ImportError:
    from numpy.core import multiarray

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


def allow_fairseq_checkpoints():
    """Lets torch.load read what fairseq pickles beside tensors, with weights-only loading left on.

    From torch 2.6 on only listed classes are unpickled; fairseq stores options as an
    argparse.Namespace and some validation scores as numpy scalars. Older torch needs nothing.
    """
    if hasattr(torch.serialization, "add_safe_globals"):
        torch.serialization.add_safe_globals([argparse.Namespace, codecs.encode, *_numpy_globals()])


def restore_fairseq_logs():
    """Lets fairseq's commands log again where iopath, which fvcore needs, has silenced them.

    With iopath installed, fairseq's file_io logs a debug line before the command sets up logging,
    which fixes the level at WARNING; even the perplexity of fairseq-eval-lm is lost then.
    """
    if "fairseq_cli" in sys.modules and logging.root.level == logging.WARNING:
        logging.basicConfig(
            format="%(asctime)s | %(levelname)s | %(name)s | %(message)s",
            datefmt="%Y-%m-%d %H:%M:%S",
            level=os.environ.get("LOGLEVEL", "INFO").upper(),
            stream=sys.stdout,
            force=True,
        )


def keep_last_batch():
    """Puts back the sentences that fairseq drops where the last batch is no multiple of the required size.

    Some releases do so, with 8 as the default multiple: up to a whole batch of a test set is then neither
    translated nor scored, without a word. The official release keeps them.
    """
    from fairseq.data import data_utils

    batch_by_size = data_utils.batch_by_size

    @functools.wraps(batch_by_size)
    def batch_all_by_size(indices, *args, **kwargs):
        batches = list(batch_by_size(indices, *args, **kwargs))
        kept = sum(map(len, batches))
        return batches if kept == len(indices) else [*batches, indices[kept:]]

    data_utils.batch_by_size = batch_all_by_size


def restore_numpy_long():
    """Puts back np.compat.long, which numpy 2 dropped and fairseq uses for --sample-break-mode eos."""
    if not hasattr(np, "compat"):
        np.compat = SimpleNamespace(long=np.int64)


def _numpy_globals():
    """The classes and functions that pickles of numpy scalars and arrays refer to."""
    dtypes = {type(np.dtype(code)) for code in np.typecodes["All"]}
    builders = [
        # numpy 1 and 2 keep them in different modules, and a checkpoint may come from either
        (builder, f"{package}.multiarray.{builder.__name__}")
        for builder in (multiarray._reconstruct, multiarray.scalar)
        for package in ("numpy.core", "numpy._core")
    ]
    return [np.ndarray, np.dtype, *dtypes, *builders]
