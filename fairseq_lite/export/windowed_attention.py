"""Softmax attention to the last positions and linear attention to all older ones."""

from __future__ import annotations

from typing import List, Tuple

import numpy as np

from fairseq_lite.export.affines import array_of, scaled, with_ones
from fairseq_lite.export.graph import Graph, Value
from fairseq_lite.export.rows import ROW, State
from fairseq_lite.export.weights import Weights
from fairseq_lite.modules import WindowedLinearAttention
from fairseq_lite.modules.feature_maps import LARGEST_EXPONENT
from fairseq_lite.modules.windowed_attention import LEAST_SUM

ALL = np.iinfo(np.int64).max


class WindowedCausalAttention:
    """Self-attention to the past, with a channel of ones beside the values so that sums hold their denominator too.

    A step is one softmax over the scores of the window and the exponents of the query's features.
    """

    count = 3

    def __init__(self, module: WindowedLinearAttention, weights: Weights):
        self.module = module
        self.weights = weights
        self.heads = module.num_heads
        self.q = scaled(weights.affine(module.q_proj), module.softmax_scale)
        self.k = weights.affine(module.k_proj)
        self.v = with_ones(weights.affine(module.v_proj), self.heads)
        self.key_width = self.k.width // self.heads
        self.value_width = self.v.width // self.heads
        self.features = module.feature_map.feature_dim

    def begin(self, g: Graph, rows: Value) -> List[State]:
        """Sums of zeros with their denominator, [N, H, k, d + 1], then no keys and values, [N, H, 0, d] each."""
        states = []
        for length, width in ((self.features, self.value_width), (0, self.key_width), (0, self.value_width)):
            shape = g.shape(rows, self.heads, length, width)
            zeros = g.op("Expand", g.constant(np.zeros((1, 1, 1, 1), np.float32)), shape)
            states.append(State(zeros, np.float32, ["rows", self.heads, length or None, width], ROW))
        return states

    def step(self, g: Graph, x: Value, states: List[Value]) -> Tuple[Value, List[Value]]:
        """x: [N, C]; returns [N, C] and the sums, keys and values after the step."""
        q, k, v = self._projected(g, x)
        sums, *past = states
        (old_keys, keys), (old_values, values) = (self._split(g, *pair) for pair in zip(past, (k, v)))
        old_keys = g.op("Transpose", self._key_features(g, old_keys), perm=[0, 1, 3, 2])
        sums = g.op("Add", sums, g.op("MatMul", old_keys, old_values))
        attended = g.op("MatMul", self._weights(g, q, keys), g.op("Concat", values, sums, axis=2))
        numerator, denominator = g.op("Split", attended, g.constant([self.value_width - 1, 1]), outputs=2, axis=-1)
        attended = g.op("Div", numerator, g.op("Max", denominator, g.constant(np.float32(LEAST_SUM))))
        joined = g.reshape(attended, -1, self.v.width - self.heads)
        return self.weights.linear(g, joined, self.module.out_proj), [sums, keys, values]

    def _projected(self, g: Graph, x: Value) -> List[Value]:
        """Queries, keys and values of the last token, [N, H, 1, d] each."""
        affines = [self.q, self.k, self.v]
        sizes = g.constant([affine.width for affine in affines])
        parts = g.op("Split", self.weights.linear(g, x, *affines), sizes, outputs=3, axis=1)
        return [g.reshape(part, -1, self.heads, 1, affine.width // self.heads) for part, affine in zip(parts, affines)]

    def _split(self, g: Graph, past: Value, last: Value) -> Tuple[Value, Value]:
        """Past and last positions, [N, H, w, d] and [N, H, 1, d], as the one that leaves, if any, and the window."""
        positions, axis = g.op("Concat", past, last, axis=2), g.constant([2])
        left = g.constant([-self.module.window])
        leaving = g.op("Slice", positions, g.constant([0]), left, axis)
        return leaving, g.op("Slice", positions, left, g.constant([ALL]), axis)

    def _weights(self, g: Graph, q: Value, keys: Value) -> Value:
        """exp of the scores of the window, then of the query's features, up to a factor: [N, H, 1, w + k]."""
        # The queries are scaled for the scores, which the features are not.
        weight = array_of(self.module.feature_map.query_weight.transpose(1, 2)) / np.float32(self.module.softmax_scale)
        name = self.weights.names.of(self.module.feature_map.query_weight)
        exponents = g.op("MatMul", q, g.weight(f"{name}.rescaled", weight))
        scores = g.op("MatMul", q, g.op("Transpose", keys, perm=[0, 1, 3, 2]))
        return g.op("Softmax", g.op("Concat", scores, exponents, axis=-1), axis=-1)

    def _key_features(self, g: Graph, k: Value) -> Value:
        """phi of keys: [N, H, T, d], [N, H, T, k]."""
        feature_map, names = self.module.feature_map, self.weights.names
        weight, bias = array_of(feature_map.key_weight.transpose(1, 2)), array_of(feature_map.key_bias.unsqueeze(1))
        product = g.op("MatMul", k, g.weight(f"{names.of(feature_map.key_weight)}.by_input", weight))
        exponents = g.op("Add", product, g.weight(f"{names.of(feature_map.key_bias)}.by_head", bias))
        return g.op("Exp", g.op("Min", exponents, g.constant(np.float32(LARGEST_EXPONENT))))
