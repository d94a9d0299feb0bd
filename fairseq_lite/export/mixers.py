"""Which writer mixes the tokens for which module of a layer."""

from __future__ import annotations

from typing import List, Tuple

import torch.nn as nn
from fairseq.modules import MultiheadAttention

from fairseq_lite.errors import UserError
from fairseq_lite.export.attention import CausalAttention, CrossAttention, EncoderAttention
from fairseq_lite.export.convolution import Convolution
from fairseq_lite.export.graph import Graph, Value
from fairseq_lite.export.linear_attention import LinearCausalAttention, LinearCrossAttention, LinearEncoderAttention
from fairseq_lite.export.rows import State
from fairseq_lite.export.source import Source
from fairseq_lite.export.weights import Weights
from fairseq_lite.export.windowed_attention import WindowedCausalAttention
from fairseq_lite.modules import LSRA, LinearAttention, WindowedLinearAttention


class LongShortRange:
    """Long-short range attention: the first channels attend, the others are convolved (arXiv 2004.11886)."""

    def __init__(self, module: LSRA, weights: Weights, position: str):
        self.attention = mixer(module.attention, weights, position)
        self.convolution = Convolution(module.conv, weights)
        self.count = self.attention.count + self.convolution.count if position == "causal" else 0
        self.attention_dim = module.attention_dim
        self.width = module.attention_dim + module.conv.linear2.out_features

    def _split(self, g: Graph, x: Value) -> Tuple[Value, Value]:
        sizes = g.constant([self.attention_dim, self.width - self.attention_dim])
        return g.op("Split", x, sizes, outputs=2, axis=1)

    def over(self, g: Graph, x: Value, source: Source) -> Value:
        """x: [S * B, C]; returns [S * B, C]."""
        long_range, short_range = self._split(g, x)
        branches = self.attention.over(g, long_range, source), self.convolution.over(g, short_range, source)
        return g.op("Concat", *branches, axis=1)

    def begin(self, g: Graph, rows: Value) -> List[State]:
        """The states of attention, then the columns of the convolution."""
        return [*self.attention.begin(g, rows), *self.convolution.begin(g, rows)]

    def step(self, g: Graph, x: Value, states: List[Value]) -> Tuple[Value, List[Value]]:
        """x: [N, C]; returns [N, C] and the states after the step."""
        long_range, short_range = self._split(g, x)
        attended, attention_states = self.attention.step(g, long_range, states[:-1])
        convolved, columns = self.convolution.step(g, short_range, states[-1:])
        return g.op("Concat", attended, convolved, axis=1), [*attention_states, *columns]


WRITERS = {
    ("encoder", MultiheadAttention): EncoderAttention,
    ("encoder", LinearAttention): LinearEncoderAttention,
    ("causal", MultiheadAttention): CausalAttention,
    ("causal", LinearAttention): LinearCausalAttention,
    ("causal", WindowedLinearAttention): WindowedCausalAttention,
    ("cross", MultiheadAttention): CrossAttention,
    ("cross", LinearAttention): LinearCrossAttention,
}


def mixer(module: nn.Module, weights: Weights, position: str):
    """The writer of an attention module at a position: encoder, causal or cross; raises UserError if there is none."""
    if type(module) is LSRA and position != "cross":
        return LongShortRange(module, weights, position)
    if (position, type(module)) not in WRITERS:
        raise UserError(f"{type(module).__name__}: attention of this kind cannot be exported")
    return WRITERS[position, type(module)](module, weights)
