"""The blocks that a cell of the Evolved Transformer has before its Transformer layer."""

from __future__ import annotations

from typing import List, Tuple

import numpy as np

from fairseq_lite.export.affines import Affine, Matrix, array_of
from fairseq_lite.export.convolution import depthwise_last, depthwise_over, gated, no_columns, with_last
from fairseq_lite.export.graph import Graph, Value
from fairseq_lite.export.mixers import mixer
from fairseq_lite.export.rows import State
from fairseq_lite.export.source import Source
from fairseq_lite.export.weights import Weights
from fairseq_lite.modules.evolved_blocks import (
    DecoderConvolutions,
    EncoderConvolutions,
    GatedLinearUnit,
    ParallelAttention,
)
from fairseq_lite.modules.separable_conv import SeparableConv, TemporalConv

# Where a slice ends that takes all that is left.
END = np.iinfo(np.int64).max


def swish(g: Graph, x: Value) -> Value:
    return g.op("Mul", x, g.op("Sigmoid", x))


def gated_linear_unit(g: Graph, x: Value, module: GatedLinearUnit, weights: Weights) -> Value:
    """x: [N, C]; returns [N, C]."""
    return gated(g, weights.linear(g, x, module.linear))


def _joined_branches(g: Graph, wide: Value, narrow: Value, zeros: int) -> Value:
    """wide: [N, C + zeros] and narrow: [N, C], which has zeros in the other channels."""
    return g.op("Add", wide, g.op("Pad", narrow, g.constant([0, 0, 0, zeros])))


class Separable:
    """A kernel for each channel, then a linear layer."""

    count = 1

    def __init__(self, module: SeparableConv, weights: Weights):
        self.pointwise = module.pointwise
        self.kernels = module.depthwise.weight
        self.weights = weights
        self.channels, _, self.kernel_size = self.kernels.shape

    def _taps(self, g: Graph) -> Value:
        """[C, K]."""
        stored = self.weights.vector(g, self.kernels)
        return g.derived(("taps", stored), lambda home: home.op("Squeeze", stored, home.constant([1])))

    def over(self, g: Graph, x: Value, source: Source) -> Value:
        """Convolve whole sentences, centred, x: [S * B, C]; returns [S * B, C']."""
        before = (self.kernel_size - 1) // 2
        pads = [before, self.kernel_size - 1 - before]
        x = depthwise_over(g, source.without_padding(g, x), self._taps(g), source, self.channels, pads)
        return self.weights.linear(g, x, self.pointwise)

    def begin(self, g: Graph, rows: Value) -> List[State]:
        """Columns of zeros before the first step, [N, K - 1, C]."""
        return [no_columns(g, rows, self.kernel_size, self.channels)]

    def step(self, g: Graph, x: Value, states: List[Value]) -> Tuple[Value, List[Value]]:
        """Convolve the next column, x: [N, C]; returns [N, C'] and the last K - 1 columns."""
        columns, remembered = with_last(g, states[0], x, self.kernel_size, self.channels)
        return self.weights.linear(g, depthwise_last(g, columns, self._taps(g)), self.pointwise), [remembered]


def _whole_over(g: Graph, x: Value, module: TemporalConv, weights: Weights, source: Source) -> Value:
    """Convolve whole sentences with all channels, centred: [S * B, C] to [S * B, C'].

    It is a product with the K columns of each window side by side, so that its weights are stored in few bits too.
    """
    kernels = array_of(module.weight).transpose(0, 2, 1)
    outputs, taps, channels = kernels.shape
    matrix = Matrix(f"{weights.names.of(module.weight)}.by_tap", kernels.reshape(outputs, taps * channels))
    before = (taps - 1) // 2
    sentences = g.reshape(source.without_padding(g, x), source.size, channels)
    padded = g.op("Pad", sentences, g.constant([before, 0, 0, taps - 1 - before, 0, 0]))
    ends = [*range(1 - taps, 0), END]
    shifted = [
        g.op("Slice", padded, g.constant([tap]), g.constant([end]), g.constant([0])) for tap, end in enumerate(ends)
    ]
    windows = g.reshape(g.op("Concat", *shifted, axis=2), -1, taps * channels)
    return weights.linear(g, windows, Affine(matrix, array_of(module.bias), outputs))


class EncoderBranches:
    """The branched convolutions of an encoder cell."""

    def __init__(self, module: EncoderConvolutions, weights: Weights):
        self.module = module
        self.weights = weights
        self.joined = Separable(module.joined, weights)

    def over(self, g: Graph, x: Value, source: Source) -> Value:
        """x: [S * B, C]; returns [S * B, C]."""
        wide = g.op("Relu", self.weights.linear(g, x, self.module.wide))
        narrow = g.op("Relu", _whole_over(g, x, self.module.narrow, self.weights, source))
        half = self.module.narrow.out_channels
        y = _joined_branches(g, wide, narrow, self.module.wide.out_features - half)
        y = self.joined.over(g, self.weights.layer_norm(g, y, self.module.layer_norm), source)
        return g.op("Pad", y, g.constant([0, 0, 0, self.module.wide.in_features - half]))


class DecoderBranches:
    """The branched convolutions of a decoder cell; each of the three remembers its own columns."""

    count = 3

    def __init__(self, module: DecoderConvolutions, weights: Weights):
        self.layer_norm = module.layer_norm
        self.weights = weights
        self.wide, self.narrow, self.joined = (
            Separable(part, weights) for part in (module.wide, module.narrow, module.joined)
        )
        self.zeros = module.wide.pointwise.out_features - module.narrow.pointwise.out_features

    def begin(self, g: Graph, rows: Value) -> List[State]:
        """Columns of zeros of each convolution."""
        return [state for part in (self.wide, self.narrow, self.joined) for state in part.begin(g, rows)]

    def step(self, g: Graph, x: Value, states: List[Value]) -> Tuple[Value, List[Value]]:
        """x: [N, C]; returns [N, C] and the columns after the step."""
        wide, of_wide = self.wide.step(g, x, states[:1])
        narrow, of_narrow = self.narrow.step(g, x, states[1:2])
        y = _joined_branches(g, g.op("Relu", wide), narrow, self.zeros)
        y, of_joined = self.joined.step(g, self.weights.layer_norm(g, y, self.layer_norm), states[2:])
        return y, [*of_wide, *of_narrow, *of_joined]


class ParallelAttentions:
    """Attention to the past and to the source by the same queries, and their sum."""

    def __init__(self, module: ParallelAttention, weights: Weights):
        self.causal = mixer(module.self_attn, weights, "causal")
        self.cross = None if module.encoder_attn is None else mixer(module.encoder_attn, weights, "cross")

    def step(self, g: Graph, x: Value, own: List[Value], crossed: List[Value], sentences) -> Tuple[Value, List[Value]]:
        """x: [N, C], states of the past and of the source; returns [N, C] and the states of the past after the step."""
        y, after = self.causal.step(g, x, own)
        if self.cross is not None:
            y = g.op("Add", y, self.cross.step(g, x, crossed, sentences))
        return y, after
