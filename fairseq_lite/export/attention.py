"""Softmax attention of fairseq's MultiheadAttention."""

from __future__ import annotations

from typing import List, Optional, Tuple

import numpy as np
from fairseq.modules import MultiheadAttention

from fairseq_lite.errors import UserError
from fairseq_lite.export.affines import scaled, with_ones
from fairseq_lite.export.graph import Graph, Value
from fairseq_lite.export.rows import ROW, SENTENCE, State
from fairseq_lite.export.source import Source, joined_rows, query_heads
from fairseq_lite.export.weights import Weights


class SoftmaxAttention:
    """The projections of an attention module, queries scaled."""

    def __init__(self, module: MultiheadAttention, weights: Weights):
        refuse_options(module)
        self.weights = weights
        self.heads = module.num_heads
        self.q = scaled(weights.affine(module.q_proj), module.scaling)
        self.k, self.v = weights.affine(module.k_proj), weights.affine(module.v_proj)
        self.out = module.out_proj
        self.key_channels, self.value_channels = self.k.width, self.v.width

    def attend(self, g: Graph, q: Value, k: Value, v: Value, mask: Value = "") -> Value:
        """q: [B, H, T, d], k: [B, H, d, S], v: [B, H, S, d'], mask: [B, 1, 1, S] to add; returns [B, H, T, d']."""
        scores = g.op("MatMul", q, k)
        if mask:
            scores = g.op("Add", scores, mask)
        return g.op("MatMul", g.op("Softmax", scores, axis=-1), v)


def refuse_options(module: MultiheadAttention) -> None:
    """Raise UserError for options of an attention module that are not exported."""
    if module.bias_k is not None or module.add_zero_attn:
        raise UserError("attention with add_bias_kv or add_zero_attn cannot be exported")
    if module.use_xformers:
        raise UserError("--encoder-xformers-att-config, --decoder-xformers-att-config: cannot be exported")


class EncoderAttention(SoftmaxAttention):
    """Self-attention over a whole sentence."""

    def over(self, g: Graph, x: Value, source: Source) -> Value:
        """x: [S * B, C]; returns [S * B, C]."""
        projected = self.weights.linear(g, x, self.q, self.k, self.v)
        sizes = [self.key_channels, self.key_channels, self.value_channels]
        q, k, v = g.op("Split", projected, g.constant(sizes), outputs=3, axis=1)
        q, v = (source.heads(g, part, self.heads) for part in (q, v))
        attended = self.attend(g, q, source.heads_across(g, k, self.heads), v, source.mask)
        return self.weights.linear(g, source.joined(g, attended, self.value_channels), self.out)


class CausalAttention(SoftmaxAttention):
    """Self-attention to the past, whose keys and values grow by one a step."""

    count = 2

    def begin(self, g: Graph, rows: Value) -> List[State]:
        """No keys and values, [N, H, 0, d] each."""
        states = []
        for channels in (self.key_channels, self.value_channels):
            width = channels // self.heads
            shape = g.shape(rows, self.heads, 0, width)
            empty = g.op("Expand", g.constant(np.zeros((1, 1, 1, 1), np.float32)), shape)
            states.append(State(empty, np.float32, ["rows", self.heads, None, width], ROW))
        return states

    def step(self, g: Graph, x: Value, states: List[Value]) -> Tuple[Value, List[Value]]:
        """x: [N, C]; returns [N, C] and the longer keys and values."""
        q, k, v = self._projected(g, x)
        keys, values = (g.op("Concat", past, last, axis=2) for past, last in zip(states, (k, v)))
        attended = self.attend(g, q, g.op("Transpose", keys, perm=[0, 1, 3, 2]), values)
        joined = g.reshape(attended, -1, self.value_channels)
        return self.weights.linear(g, joined, self.out), [keys, values]

    def _projected(self, g: Graph, x: Value) -> List[Value]:
        """Queries, keys and values of the last token, [N, H, 1, d] each."""
        projected = self.weights.linear(g, x, self.q, self.k, self.v)
        sizes = [self.key_channels, self.key_channels, self.value_channels]
        if len(set(sizes)) == 1:
            by_head = g.reshape(projected, -1, 3 * self.heads, 1, sizes[0] // self.heads)
            return list(g.op("Split", by_head, outputs=3, axis=1, num_outputs=3))
        parts = g.op("Split", projected, g.constant(sizes), outputs=3, axis=1)
        return [g.reshape(part, -1, self.heads, 1, size // self.heads) for part, size in zip(parts, sizes)]


class CrossAttention(SoftmaxAttention):
    """Attention to the source, whose keys and values are computed once a sentence.

    Queries have one more channel, which is always 1, and keys have the mask of the padding there, so that no step
    has to add it.
    """

    count = 2

    def __init__(self, module: MultiheadAttention, weights: Weights):
        super().__init__(module, weights)
        self.q = with_ones(self.q, self.heads)

    def begin(self, g: Graph, encoded: Value, source: Source) -> List[State]:
        """encoded: [S * B, C]; keys: [B, H, d + 1, S] and values: [B, H, S, d]."""
        projected = self.weights.linear(g, encoded, self.k, self.v)
        k, v = g.op("Split", projected, g.constant([self.key_channels, self.value_channels]), outputs=2, axis=1)
        mask = g.op("Expand", source.finite_mask(g), g.shape(1, self.heads, 1, 1))
        k = g.op("Concat", source.heads_across(g, k, self.heads), mask, axis=2)
        v = source.heads(g, v, self.heads)
        value_width = self.value_channels // self.heads
        return [
            State(k, np.float32, ["sentences", self.heads, self.q.width // self.heads, None], SENTENCE),
            State(v, np.float32, ["sentences", self.heads, None, value_width], SENTENCE),
        ]

    def step(self, g: Graph, x: Value, states: List[Value], sentences: Optional[Value]) -> Value:
        """x: [N, C], the rows of a sentence side by side; returns [N, C].

        Args:
            sentences: their number, int64: [1], or None where each has one row
        """
        q = query_heads(g, self.weights.linear(g, x, self.q), self.heads, self.q.width // self.heads, sentences)
        attended = self.attend(g, q, *states)
        return self.weights.linear(g, joined_rows(g, attended, self.value_channels, sentences), self.out)
