"""Whole sentences are convolved alike by channel and by a matrix for each kernel."""

import numpy as np
import pytest
import torch
from exported import session_of

from fairseq_lite.export.convolution import LONG, Convolution
from fairseq_lite.export.graph import Graph
from fairseq_lite.export.model import matrices_of
from fairseq_lite.export.source import Source
from fairseq_lite.export.weights import Weights
from fairseq_lite.modules import LightweightConv

CHANNELS, PAD = 32, 1


@pytest.mark.parametrize("length", [1, 6, LONG - 1, LONG, LONG + 9])
@pytest.mark.parametrize("kernel_size, causal", [(1, False), (7, False), (31, False), (4, True)])
@pytest.mark.parametrize("heads", [2, 16], ids=["shared kernels", "few channels a kernel"])
def test_sentences_are_convolved_as_by_the_module(length, kernel_size, causal, heads):
    torch.manual_seed(1)
    module = LightweightConv(CHANNELS, kernel_size=kernel_size, num_heads=heads, causal=causal).eval()
    g = Graph("convolution")
    tokens, x = g.input("tokens", np.int64, [2, None]), g.input("x", np.float32, [None, CHANNELS])
    writer = Convolution(module, Weights(module, matrices_of(32, False)))
    g.output("y", writer.over(g, x, Source(g, tokens, PAD)), np.float32, [None, CHANNELS])

    words = torch.full((2, length), 5)
    words[1, length - length // 3 :] = PAD
    given = torch.randn(length, 2, CHANNELS)
    with torch.no_grad():
        wanted = module(given, padding_mask=words.eq(PAD))
    feed = {"tokens": words.numpy(), "x": given.reshape(-1, CHANNELS).numpy()}
    found = session_of(g.model({})).run(None, feed)[0].reshape(wanted.shape)
    np.testing.assert_allclose(found, wanted.numpy(), rtol=1e-4, atol=1e-5)
