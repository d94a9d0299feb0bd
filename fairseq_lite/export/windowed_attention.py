"""Softmax attention to the last positions and linear attention to all older ones."""

from __future__ import annotations

from typing import List, Tuple

import numpy as np

from fairseq_lite.export.affines import array_of, scaled, with_ones
from fairseq_lite.export.graph import Graph, Value
from fairseq_lite.export.recurrence import Step, recurrence
from fairseq_lite.export.rows import ROW, State
from fairseq_lite.export.weights import Weights
from fairseq_lite.modules import WindowedLinearAttention
from fairseq_lite.modules.feature_maps import LARGEST_EXPONENT
from fairseq_lite.modules.windowed_attention import LEAST_SUM


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
        """Zeros: sums [N, H, k, d + 1], keys [N, H, W, d] and values [N, H, W, d + 1].

        A value of zeros, its channel of ones included, adds to no sum: so an empty place of the window has no weight.
        """
        window, states = self.module.window, []
        for length, width in (
            (self.features, self.value_width),
            (window, self.key_width),
            (window, self.value_width),
        ):
            sizes = (self.heads, length, width)
            zeros = g.op("Expand", g.constant(np.zeros((1, 1, 1, 1), np.float32)), g.shape(rows, *sizes))
            states.append(State(zeros, np.float32, ["rows", *sizes], ROW))
        return states

    def step(self, g: Graph, x: Value, states: List[Value]) -> Tuple[Value, List[Value]]:
        """x: [N, C]; returns [N, C] and the sums, keys and values after the step."""
        q, k, v = self._projected(g, x)
        sums, *past = states
        (old_key, keys), (old_value, values) = (self._moved(g, *pair) for pair in zip(past, (k, v)))
        to_window, to_features = self._weights(g, q, keys)
        sizes = (self.heads, self.features, self.value_width)
        older = Step(to_features, self._key_features(g, old_key), old_value, sums, "", sizes)
        attended, sums = recurrence(self.weights.portable)(g, older)
        attended = g.op("Add", attended, g.op("MatMul", to_window, values))
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

    def _moved(self, g: Graph, past: Value, last: Value) -> Tuple[Value, Value]:
        """The position that leaves the window, [N, H, 1, d], and the window after the last one came: [N, H, W, d]."""
        positions = g.op("Concat", past, last, axis=2)
        return g.op("Split", positions, g.constant([1, self.module.window]), outputs=2, axis=2)

    def _weights(self, g: Graph, q: Value, keys: Value) -> Tuple[Value, Value]:
        """exp of the scores of the window, [N, H, 1, W], and of the query's features, [N, H, 1, k], on one scale."""
        # The queries are scaled for the scores, which the features are not.
        weight = array_of(self.module.feature_map.query_weight.transpose(1, 2)) / np.float32(self.module.softmax_scale)
        name = self.weights.names.of(self.module.feature_map.query_weight)
        exponents = g.op("MatMul", q, g.weight(f"{name}.rescaled", weight))
        scores = g.op("MatMul", q, g.op("Transpose", keys, perm=[0, 1, 3, 2]))
        weights = g.op("Softmax", g.op("Concat", scores, exponents, axis=-1), axis=-1)
        return g.op("Split", weights, g.constant([self.module.window, self.features]), outputs=2, axis=-1)

    def _key_features(self, g: Graph, k: Value) -> Value:
        """phi of keys: [N, H, 1, d], [N, H, 1, k]."""
        feature_map, names = self.module.feature_map, self.weights.names
        weight, bias = array_of(feature_map.key_weight.transpose(1, 2)), array_of(feature_map.key_bias.unsqueeze(1))
        product = g.op("MatMul", k, g.weight(f"{names.of(feature_map.key_weight)}.by_input", weight))
        exponents = g.op("Add", product, g.weight(f"{names.of(feature_map.key_bias)}.by_head", bias))
        return g.op("Exp", g.op("Min", exponents, g.constant(np.float32(LARGEST_EXPONENT))))
