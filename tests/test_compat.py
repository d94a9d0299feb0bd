import argparse
import fractions
import io
import pickle
import sys

import numpy as np
import pytest
import torch
from fairseq.data import data_utils

from fairseq_lite.compat import allow_fairseq_checkpoints, require_fairseq, restore_numpy_long

needs_safe_globals = pytest.mark.skipif(
    not hasattr(torch.serialization, "add_safe_globals"), reason="this torch unpickles everything"
)


def test_without_fairseq_the_extras_are_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "fairseq", None)
    with pytest.raises(ImportError, match=r"\[ve\].*\[fixed\].*\[legacy\]"):
        require_fairseq()


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
