import argparse
import fractions
import io
import pickle

import numpy as np
import pytest
import torch
from fairseq.data import data_utils
from fairseq.tasks import FairseqTask
from omegaconf import OmegaConf

from fairseq_lite.errors import UserError
from fairseq_lite.hooks.repairs import (
    allow_fairseq_checkpoints,
    drops_last_batch,
    keeping_last_batch,
    restore_numpy_long,
)

needs_safe_globals = pytest.mark.skipif(
    not hasattr(torch.serialization, "add_safe_globals"), reason="this torch unpickles everything"
)


def saved(content):
    """A checkpoint's bytes in torch's older format, a plain pickle that can be edited."""
    buffer = io.BytesIO()
    torch.save(content, buffer, _use_new_zipfile_serialization=False)
    return buffer.getvalue()


@needs_safe_globals
@pytest.mark.parametrize("package", ["numpy.core", "numpy._core"])
def test_checkpoints_of_either_numpy_are_read(package):
    allow_fairseq_checkpoints()
    scores = [np.float64(1.5), np.float32(2.5), np.int64(3)]
    content = {"model": argparse.Namespace(arch="x"), "scores": scores, "array": np.arange(3)}
    data = saved(content)
    for other in (b"numpy.core", b"numpy._core"):
        data = data.replace(b"c" + other + b".multiarray\n", b"c" + package.encode() + b".multiarray\n")
    read = torch.load(io.BytesIO(data), weights_only=True)
    assert read["model"] == content["model"]
    assert read["scores"] == scores
    assert (read["array"] == content["array"]).all()


@needs_safe_globals
def test_options_reach_other_workers():
    allow_fairseq_checkpoints()
    options = OmegaConf.create({"task": {"data": "x", "lr": [0.1, 2], "tied": True, "path": None, "more": {}}})
    assert torch.load(io.BytesIO(saved({"cfg": options})))["cfg"] == options


@needs_safe_globals
def test_other_classes_are_still_refused():
    allow_fairseq_checkpoints()
    with pytest.raises(pickle.UnpicklingError, match="fractions.Fraction"):
        torch.load(io.BytesIO(saved(fractions.Fraction(1, 2))))


def test_numpy_long_is_an_integer_type():
    restore_numpy_long()
    assert np.zeros(2, dtype=np.compat.long).dtype == np.int64


@pytest.mark.parametrize("sentences", [1, 7, 8, 13])
def test_no_sentence_is_dropped_with_the_last_batch(sentences):
    indices = np.arange(sentences)
    batches = data_utils.batch_by_size(indices, lambda i: 5, max_tokens=50, required_batch_size_multiple=8)
    assert np.array_equal(np.concatenate(batches), indices)


def cutting(indices, num_tokens_fn, max_sentences=None, required_batch_size_multiple=1):
    """batch_by_size as in the releases that drop a last batch, and that fail without a sentence."""
    batches = [indices[i : i + max_sentences] for i in range(0, len(indices), max_sentences)]
    return batches[:-1] if len(batches[-1]) % required_batch_size_multiple else batches


def test_a_probe_finds_releases_that_drop_the_last_batch():
    assert drops_last_batch(cutting)
    assert not drops_last_batch(keeping_last_batch(cutting))


@pytest.mark.parametrize("make", [np.array, list, iter], ids=["array", "list", "iterator"])
@pytest.mark.parametrize("sentences", [0, 1, 4, 7])
def test_every_kind_of_indices_is_batched_whole(make, sentences):
    batches = data_utils.batch_by_size(
        make(range(sentences)), lambda i: 5, max_sentences=4, required_batch_size_multiple=4
    )
    assert [index for batch in batches for index in batch] == list(range(sentences))


class OfOneLength:
    def __init__(self, length):
        self.length = length

    def filter_indices_by_size(self, indices, max_positions):
        return (indices, []) if self.length <= max_positions else (indices[:0], list(indices))

    def size(self, index):
        return self.length


def test_a_filter_that_leaves_no_sentence_is_refused():
    task, indices = FairseqTask(None), np.arange(3)
    assert len(task.filter_indices_by_size(indices, OfOneLength(5), 5, True)) == 3
    assert len(task.filter_indices_by_size(indices[:0], OfOneLength(5), 5, True)) == 0
    with pytest.raises(UserError, match="--max-source-positions.* all 3 sentences are longer than 4"):
        task.filter_indices_by_size(indices, OfOneLength(5), 4, True)
