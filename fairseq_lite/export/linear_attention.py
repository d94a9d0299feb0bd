"""Linear attention, whose state is of constant size (Kasai et al., 2021, arXiv 2103.13076)."""

from __future__ import annotations

from typing import List, Optional, Tuple

import numpy as np

from fairseq_lite.errors import UserError
from fairseq_lite.export.affines import array_of, scaled, with_ones
from fairseq_lite.export.graph import Graph, Value
from fairseq_lite.export.recurrence import Step, recurrence
from fairseq_lite.export.rows import State
from fairseq_lite.export.source import Source, joined_rows, query_heads
from fairseq_lite.export.weights import Weights
from fairseq_lite.modules import LinearAttention
from fairseq_lite.modules.feature_maps import (
    LARGEST_EXPONENT,
    Activation,
    EluFeatureMap,
    Exp,
    ReLU,
    RFAFeatureMap,
    TwoSoftmaxes,
)

# torch's normalize divides by at least this
LEAST_NORM = 1e-12


def _relu(g: Graph, z: Value, attention: LinearAttentionWriter) -> Value:
    return g.op("Relu", z)


def _softmax(g: Graph, z: Value, attention: LinearAttentionWriter) -> Value:
    return g.op("Softmax", z, axis=-1)


def _exp(g: Graph, z: Value, attention: LinearAttentionWriter) -> Value:
    return g.op("Exp", g.op("Min", z, g.constant(np.float32(LARGEST_EXPONENT))))


def _two_softmaxes(g: Graph, z: Value, attention: LinearAttentionWriter) -> Value:
    return g.op("Concat", g.op("Softmax", z, axis=-1), g.op("Softmax", g.op("Neg", z), axis=-1), axis=-1)


def _elu(g: Graph, x: Value, attention: LinearAttentionWriter) -> Value:
    return g.op("Add", g.op("Elu", x), g.constant(np.float32(1)))


def _rfa(g: Graph, x: Value, attention: LinearAttentionWriter) -> Value:
    """sqrt(2/k) [sin(W x / |x|), cos(W x / |x|)] of x: [..., H, T, d]."""
    feature_map = attention.module.feature_map
    norm = g.op("ReduceL2", x, g.constant([-1]), keepdims=1)
    unit = g.op("Div", x, g.op("Max", norm, g.constant(np.float32(LEAST_NORM))))
    directions = array_of((feature_map.sigma * feature_map.directions).transpose(1, 2))
    name = attention.weights.names.of(feature_map.directions)
    angles = g.op("MatMul", unit, g.weight(f"{name}.scaled", directions))
    waves = g.op("Concat", g.op("Sin", angles), g.op("Cos", angles), axis=-1)
    return g.op("Mul", waves, g.constant(np.float32((2 / feature_map.feature_dim) ** 0.5)))


# Of queries and of keys. A learned map is folded into the projections before, which leaves its activation.
FEATURE_MAPS = {
    ReLU: (_relu, _relu),
    Exp: (_softmax, _exp),
    TwoSoftmaxes: (_two_softmaxes, _two_softmaxes),
    EluFeatureMap: (_elu, _elu),
    RFAFeatureMap: (_rfa, _rfa),
}


class LinearAttentionWriter:
    """Linear attention of any feature map, with a channel of ones beside the values so that S holds z too."""

    def __init__(self, module: LinearAttention, weights: Weights):
        if type(module.feature_map) not in FEATURE_MAPS:
            raise UserError(f"feature map {type(module.feature_map).__name__}: cannot be exported")
        self.module = module
        self.weights = weights
        self.heads = module.num_heads
        self.q = scaled(weights.affine(module.q_proj), module.query_scale)
        self.k = weights.affine(module.k_proj)
        self.v = with_ones(weights.affine(module.v_proj), self.heads)
        self.value_width = self.v.width // self.heads
        self.features = self._features()

    def _features(self) -> int:
        feature_map = self.module.feature_map
        if isinstance(feature_map, Activation):
            return feature_map.features_of_each * self.k.width // self.heads
        return feature_map.feature_dim

    def map_queries(self, g: Graph, x: Value) -> Value:
        """phi of queries x: [..., H, T, d], [..., H, T, k]."""
        return FEATURE_MAPS[type(self.module.feature_map)][0](g, x, self)

    def map_keys(self, g: Graph, x: Value) -> Value:
        """phi of keys x: [..., H, T, d], [..., H, T, k]."""
        return FEATURE_MAPS[type(self.module.feature_map)][1](g, x, self)

    def divided(self, g: Graph, sums: Value) -> Value:
        """The numerators by the denominator, their last channel: [..., d + 1] to [..., d]."""
        sizes = g.constant([self.value_width - 1, 1])
        numerator, denominator = g.op("Split", sums, sizes, outputs=2, axis=-1)
        return g.op("Div", numerator, g.op("Max", denominator, g.constant(np.float32(self.module.least))))

    def sums_over(self, g: Graph, x: Value, source: Source, *more) -> List[Value]:
        """S with z: [B, H, k, d + 1] over all of x: [S * B, C], then other projections of x, [S * B, width] each."""
        affines = [self.k, self.v, *more]
        projected = self.weights.linear(g, x, *affines)
        sizes = g.constant([affine.width for affine in affines])
        k, v, *others = g.op("Split", projected, sizes, outputs=len(affines), axis=1)
        keys = self.map_keys(g, source.heads(g, k, self.heads))
        kept = g.reshape(source.kept, source.sentences, 1, -1, 1)
        keys = g.op("Transpose", g.op("Mul", keys, kept), perm=[0, 1, 3, 2])
        return [g.op("MatMul", keys, source.heads(g, v, self.heads)), *others]


class LinearEncoderAttention(LinearAttentionWriter):
    """Self-attention over a whole sentence."""

    def over(self, g: Graph, x: Value, source: Source) -> Value:
        """x: [S * B, C]; returns [S * B, C]."""
        sums, q = self.sums_over(g, x, source, self.q)
        queries = self.map_queries(g, source.heads(g, q, self.heads))
        attended = self.divided(g, g.op("MatMul", queries, sums))
        joined = source.joined(g, attended, self.v.width - self.heads)
        return self.weights.linear(g, joined, self.module.out_proj)


class LinearCrossAttention(LinearAttentionWriter):
    """Attention to the source, which is summed once a sentence."""

    count = 1

    def begin(self, g: Graph, encoded: Value, source: Source) -> List[State]:
        """S with z: [B, H, k, d + 1]."""
        shape = ["sentences", self.heads, self.features, self.value_width]
        return [State(self.sums_over(g, encoded, source)[0], np.float32, shape, "sentence")]

    def step(self, g: Graph, x: Value, states: List[Value], sentences: Optional[Value]) -> Value:
        """x: [N, C], the rows of a sentence side by side; returns [N, C].

        Args:
            sentences: their number, int64: [1], or None where each has one row
        """
        q = query_heads(g, self.weights.linear(g, x, self.q), self.heads, self.q.width // self.heads, sentences)
        attended = self.divided(g, g.op("MatMul", self.map_queries(g, q), states[0]))
        joined = joined_rows(g, attended, self.v.width - self.heads, sentences)
        return self.weights.linear(g, joined, self.module.out_proj)


class LinearCausalAttention(LinearAttentionWriter):
    """Self-attention to the past, the recurrence S = g S + phi(k) v^T with a gate g or without one."""

    count = 1

    def begin(self, g: Graph, rows: Value) -> List[State]:
        """A state of zeros, [N, H, k, d + 1]."""
        sizes = (self.heads, self.features, self.value_width)
        zeros = g.op("Expand", g.constant(np.zeros((1, 1, 1, 1), np.float32)), g.shape(rows, *sizes))
        return [State(zeros, np.float32, ["rows", *sizes], "row")]

    def step(self, g: Graph, x: Value, states: List[Value]) -> Tuple[Value, List[Value]]:
        """x: [N, C]; returns [N, C] and the next state."""
        affines = [self.q, self.k, self.v]
        if self.module.gate is not None:
            affines.append(self.weights.affine(self.module.gate))
        projected = self.weights.linear(g, x, *affines)
        widths = g.constant([affine.width for affine in affines])
        q, k, v, *gate = g.op("Split", projected, widths, outputs=len(affines), axis=1)
        queries = self.map_queries(g, g.reshape(q, -1, self.heads, 1, self.q.width // self.heads))
        keys = self.map_keys(g, g.reshape(k, -1, self.heads, 1, self.k.width // self.heads))
        sizes = (self.heads, self.features, self.value_width)
        step = Step(queries, keys, v, states[0], gate[0] if gate else "", sizes)
        sums, state = recurrence(self.weights.portable)(g, step)
        attended = g.reshape(self.divided(g, sums), -1, self.v.width - self.heads)
        return self.weights.linear(g, attended, self.module.out_proj), [state]
