"""Repairs of faults in some releases of fairseq beside today's torch and numpy."""

import argparse
import codecs
import collections
import functools
import logging
import os
import sys
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from omegaconf import AnyNode, DictConfig, ListConfig
from omegaconf.base import ContainerMetadata, Metadata

from fairseq_lite.errors import UserError

try:
    from numpy._core import multiarray
except ImportError:
    from numpy.core import multiarray


def restore_fairseq_logs() -> None:
    """Let fairseq's commands log where iopath's debug line has fixed the level at WARNING before they set up logging.

    Even the perplexity of fairseq-eval-lm is lost otherwise.
    """
    if "fairseq_cli" in sys.modules and logging.root.level == logging.WARNING:
        logging.basicConfig(
            format="%(asctime)s | %(levelname)s | %(name)s | %(message)s",
            datefmt="%Y-%m-%d %H:%M:%S",
            level=os.environ.get("LOGLEVEL", "INFO").upper(),
            stream=sys.stdout,
            force=True,
        )


def restore_numpy_long() -> None:
    """Put back np.compat.long, which numpy 2 dropped and fairseq uses for --sample-break-mode eos."""
    if not hasattr(np, "compat"):
        np.compat = SimpleNamespace(long=np.int64)


def allow_fairseq_checkpoints() -> None:
    """Let torch.load read what fairseq pickles beside tensors, with weights-only loading left on.

    From torch 2.6 on only listed classes are unpickled; fairseq stores options as an argparse.Namespace and some
    validation scores as numpy scalars, and sends options that it has read to other workers as omegaconf's containers.
    Older torch needs nothing.
    """
    if hasattr(torch.serialization, "add_safe_globals"):
        allowed = [argparse.Namespace, codecs.encode, *_numpy_globals(), *_sent_to_workers()]
        torch.serialization.add_safe_globals(allowed)


def _sent_to_workers() -> list:
    """What fairseq sends of a checkpoint to other workers: omegaconf's containers, placeholders of tensors."""
    from fairseq.distributed.utils import _TensorPlaceholder

    containers = [DictConfig, ListConfig, ContainerMetadata, Metadata, AnyNode]
    return [*containers, Any, dict, list, int, collections.defaultdict, _TensorPlaceholder]


def _numpy_globals() -> list:
    """The classes and functions that pickles of numpy scalars and arrays refer to."""
    dtypes = {type(np.dtype(code)) for code in np.typecodes["All"]}
    builders = [
        # numpy 1 and 2 keep them in different modules, and a checkpoint may come from either
        (builder, f"{package}.multiarray.{builder.__name__}")
        for builder in (multiarray._reconstruct, multiarray.scalar)
        for package in ("numpy.core", "numpy._core")
    ]
    return [np.ndarray, np.dtype, *dtypes, *builders]


def drops_last_batch(batch_by_size) -> bool:
    """Whether 3 sentences, 2 a batch, lose the third where a batch must be a multiple of 2."""
    batches = batch_by_size(np.arange(3), lambda i: 1, max_sentences=2, required_batch_size_multiple=2)
    return sum(map(len, batches)) < 3


def keep_last_batch() -> None:
    """Put back the sentences that fairseq drops where the last batch is no multiple of the required size.

    With 8 as the default multiple up to a whole batch of a test set is neither translated nor scored, without a word.
    """
    from fairseq.data import data_utils

    if drops_last_batch(data_utils.batch_by_size):
        data_utils.batch_by_size = keeping_last_batch(data_utils.batch_by_size)


def keeping_last_batch(batch_by_size):
    """fairseq's batch_by_size with the last batch whole; indices: any iterable, of no sentence too."""

    @functools.wraps(batch_by_size)
    def batch_all_by_size(indices, *args, **kwargs):
        if not isinstance(indices, np.ndarray):
            indices = np.fromiter(indices, dtype=np.int64, count=-1)
        if len(indices) == 0:
            return []
        batches = list(batch_by_size(indices, *args, **kwargs))
        kept = sum(map(len, batches))
        return batches if kept == len(indices) else [*batches, indices[kept:]]

    return batch_all_by_size


def refuse_filtering_all() -> None:
    """Raise UserError where the filter by length leaves no sentence of a data set."""
    from fairseq.tasks.fairseq_task import FairseqTask

    filter_indices = FairseqTask.filter_indices_by_size

    @functools.wraps(filter_indices)
    def filter_some(self, indices, dataset, max_positions=None, ignore_invalid_inputs=False):
        kept = filter_indices(self, indices, dataset, max_positions, ignore_invalid_inputs)
        if len(indices) > 0 and len(kept) == 0:
            raise UserError(
                f"--max-source-positions/--max-target-positions: all {len(indices)} sentences are longer than "
                f"{max_positions}, or empty; raise the limits or split the sentences"
            )
        return kept

    FairseqTask.filter_indices_by_size = filter_some
