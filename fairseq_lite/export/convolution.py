"""The convolution branch of long-short range attention."""

from __future__ import annotations

from typing import List, Sequence, Tuple

import numpy as np
import torch

from fairseq_lite.export.affines import array_of
from fairseq_lite.export.graph import Graph, Value
from fairseq_lite.export.rows import ROW, State, Typed, choose
from fairseq_lite.export.source import Source
from fairseq_lite.export.weights import Weights
from fairseq_lite.modules import DynamicConv
from fairseq_lite.modules.conv_branch import ConvBranch

# onnxruntime convolves each channel by itself. Where at least so many channels share a kernel and sentences are short,
# a product with a matrix is faster, although it multiplies more numbers.
LEAST_SHARING = 8
LONG = 128


def gated(g: Graph, x: Value) -> Value:
    """A gated linear unit after its linear layer: x: [N, 2C] to [N, C]."""
    content, gate = g.op("Split", x, outputs=2, axis=1, num_outputs=2)
    return g.op("Mul", content, g.op("Sigmoid", gate))


def depthwise_over(g: Graph, x: Value, taps: Value, source: Source, channels: int, pads: Sequence[int]) -> Value:
    """Convolve each channel of x: [S * B, C] with its kernel in taps: [C, K]; returns [S * B, C].

    `pads`: columns of zeros before and after each sentence.
    """
    over_time = g.op("Transpose", g.reshape(x, source.size, channels), perm=[1, 2, 0])
    kernels = g.derived(("kernels", taps), lambda home: home.op("Unsqueeze", taps, home.constant([1])))
    convolved = g.op("Conv", over_time, kernels, group=channels, pads=list(pads))
    return g.reshape(g.op("Transpose", convolved, perm=[2, 0, 1]), -1, channels)


def shift_matrices(g: Graph, taps: Value, kernel_size: int, left: int) -> Value:
    """Kernels as matrices: [1, H, LONG, LONG], whose products with sentences convolve them, from taps: [H, K].

    Column s of row t has the tap s - t + left, or a zero. The corner of a matrix is that of a shorter sentence.

    Args:
        left: columns of zeros before each sentence
    """

    def write(home: Graph) -> Value:
        places = home.op("Range", *(home.constant(number) for number in (0, LONG, 1)))
        shifts = home.op("Sub", home.op("Add", places, home.constant(left + 1)), home.reshape(places, -1, 1))
        between_zeros = home.op("Pad", taps, home.constant([0, 1, 0, 1]))
        inside = home.op("Clip", shifts, home.constant(0), home.constant(kernel_size + 1))
        return home.op("Unsqueeze", home.op("Gather", between_zeros, inside, axis=1), home.constant([0]))

    return g.derived(("shift matrices", taps, left), write)


def depthwise_last(g: Graph, columns: Value, taps: Value) -> Value:
    """Convolve columns: [N, K, C] into the last one with taps: [C, K]; returns [N, C]."""
    by_tap = g.derived(("by tap", taps), lambda home: home.op("Transpose", taps, perm=[1, 0]))
    return g.op("ReduceSum", g.op("Mul", columns, by_tap), g.constant([1]), keepdims=0)


def no_columns(g: Graph, rows: Value, kernel_size: int, channels: int) -> State:
    """Columns of zeros before the first step, [N, K - 1, C]."""
    zeros = g.op("Expand", g.constant(np.zeros((1, 1, 1), np.float32)), g.shape(rows, kernel_size - 1, channels))
    return State(zeros, np.float32, ["rows", kernel_size - 1, channels], ROW)


def with_last(g: Graph, past: Value, x: Value, kernel_size: int, channels: int) -> Tuple[Value, Value]:
    """The columns past: [N, K - 1, C] and x: [N, C]; returns [N, K, C], and of these the last K - 1."""
    columns = g.op("Concat", past, g.reshape(x, -1, 1, channels), axis=1)
    return columns, g.op("Slice", columns, g.constant([1]), g.constant([kernel_size]), g.constant([1]))


def _rows(x: Value) -> List[Typed]:
    return [Typed(x, np.float32, 2)]


class Convolution:
    """Linear (with GLU or not), depthwise convolution, linear."""

    count = 1

    def __init__(self, module: ConvBranch, weights: Weights):
        self.module = module
        self.weights = weights
        self.dynamic = isinstance(module, DynamicConv)
        self.kernel_size = module.kernel_size
        self.heads = module.num_heads
        width = module.linear1.out_features
        self.channels = width // 2 if module.glu else width

    def _columns(self, g: Graph, x: Value) -> Value:
        """linear1 and the gate: x: [N, C] to [N, channels]."""
        x = self.weights.linear(g, x, self.module.linear1)
        return gated(g, x) if self.module.glu else x

    def _taps(self, g: Graph) -> Value:
        """The kernel of each head: [H, K]."""
        with torch.no_grad():
            taps = array_of(self.module.taps(torch.empty(0)))
        return g.weight(f"{self.weights.names.of(self.module.weight)}.taps", taps)

    def _taps_of_channels(self, g: Graph) -> Value:
        """The kernel of each channel: [C, K]."""
        stored = self._taps(g)
        repeat = np.repeat(np.arange(self.heads), self.channels // self.heads)
        return g.derived(("taps", stored), lambda home: home.op("Gather", stored, home.constant(repeat), axis=0))

    def _dynamic_taps(self, g: Graph, x: Value, *sizes) -> Value:
        """The kernels for columns x: [N, C], in the shape [*sizes, K]."""
        taps = g.reshape(self.weights.linear(g, x, self.module.weight_linear), *sizes, self.kernel_size)
        return g.op("Softmax", taps, axis=-1) if self.module.weight_softmax else taps

    def over(self, g: Graph, x: Value, source: Source) -> Value:
        """Convolve whole sentences, x: [S * B, C]; returns [S * B, C]."""
        x = source.without_padding(g, self._columns(g, x))
        convolved = self._dynamic_over(g, x, source) if self.dynamic else self._shared_over(g, x, source)
        return self.weights.linear(g, convolved, self.module.linear2)

    def _shared_over(self, g: Graph, x: Value, source: Source) -> Value:
        left = self.module.left

        def by_channel(g: Graph) -> List[Typed]:
            pads = [left, self.kernel_size - 1 - left]
            return _rows(depthwise_over(g, x, self._taps_of_channels(g), source, self.channels, pads))

        def by_kernel(g: Graph) -> List[Typed]:
            matrices = source.corner(g, shift_matrices(g, self._taps(g), self.kernel_size, left))
            convolved = g.op("MatMul", matrices, source.heads(g, x, self.heads))
            return _rows(source.joined(g, convolved, self.channels))

        if self.channels < LEAST_SHARING * self.heads:
            return by_channel(g)[0].value
        return choose(g, source.shorter_than(g, LONG), by_kernel, by_channel)[0]

    def _dynamic_over(self, g: Graph, x: Value, source: Source) -> Value:
        """Each position's kernel times the window that it lies in."""
        taps = self._dynamic_taps(g, x, source.size, self.heads, 1)
        pads = [self.module.left, 0, 0, self.kernel_size - 1 - self.module.left, 0, 0]
        padded = g.op("Pad", g.reshape(x, source.size, self.channels), g.constant(pads))
        windows = g.op("Gather", padded, self._window_places(g, source), axis=0)
        by_head = g.reshape(windows, source.length, self.kernel_size, source.sentences, self.heads, -1)
        convolved = g.op("MatMul", taps, g.op("Transpose", by_head, perm=[0, 2, 3, 1, 4]))
        return g.reshape(convolved, -1, self.channels)

    def _window_places(self, g: Graph, source: Source) -> Value:
        """The columns of the padded sentence that the window of each position has, [S, K]."""
        length = g.op("Squeeze", source.length)
        starts = g.op("Range", g.constant(np.int64(0)), length, g.constant(np.int64(1)))
        return g.op("Add", g.reshape(starts, -1, 1), g.constant(np.arange(self.kernel_size).reshape(1, -1)))

    def begin(self, g: Graph, rows: Value) -> List[State]:
        """Columns of zeros before the first step, [N, K - 1, C]."""
        return [no_columns(g, rows, self.kernel_size, self.channels)]

    def step(self, g: Graph, x: Value, states: List[Value]) -> Tuple[Value, List[Value]]:
        """Convolve the next column, x: [N, C]; returns [N, C] and the last K - 1 columns."""
        x = self._columns(g, x)
        columns, remembered = with_last(g, states[0], x, self.kernel_size, self.channels)
        if self.dynamic:
            convolved = self._dynamic_step(g, x, columns)
        else:
            convolved = depthwise_last(g, columns, self._taps_of_channels(g))
        return self.weights.linear(g, convolved, self.module.linear2), [remembered]

    def _dynamic_step(self, g: Graph, x: Value, columns: Value) -> Value:
        taps = self._dynamic_taps(g, x, -1, self.heads, 1)
        by_head = g.reshape(columns, -1, self.kernel_size, self.heads, self.channels // self.heads)
        convolved = g.op("MatMul", taps, g.op("Transpose", by_head, perm=[0, 2, 1, 3]))
        return g.reshape(convolved, -1, self.channels)
