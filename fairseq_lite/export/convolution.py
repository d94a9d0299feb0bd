"""The convolution branch of long-short range attention."""

from __future__ import annotations

from typing import List, Tuple

import numpy as np
import torch

from fairseq_lite.export.affines import array_of
from fairseq_lite.export.graph import Graph, Value
from fairseq_lite.export.rows import State
from fairseq_lite.export.source import Source
from fairseq_lite.export.weights import Weights
from fairseq_lite.modules import DynamicConv
from fairseq_lite.modules.conv_branch import ConvBranch


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
        if not self.module.glu:
            return x
        content, gate = g.op("Split", x, outputs=2, axis=1, num_outputs=2)
        return g.op("Mul", content, g.op("Sigmoid", gate))

    def _shared_taps(self, g: Graph) -> Value:
        """The kernel of each channel: [C, K], from those of the heads, which are what is stored."""
        with torch.no_grad():
            taps = array_of(self.module.taps(torch.empty(0)))
        stored = g.weight(f"{self.weights.names.of(self.module.weight)}.taps", taps)
        repeat = np.repeat(np.arange(self.heads), self.channels // self.heads)
        return g.derived(("taps", stored), lambda home: home.op("Gather", stored, home.constant(repeat), axis=0))

    def _dynamic_taps(self, g: Graph, x: Value, *sizes) -> Value:
        """The kernels for columns x: [N, C], in the shape [*sizes, K]."""
        taps = g.reshape(self.weights.linear(g, x, self.module.weight_linear), *sizes, self.kernel_size)
        return g.op("Softmax", taps, axis=-1) if self.module.weight_softmax else taps

    def over(self, g: Graph, x: Value, source: Source) -> Value:
        """Convolve whole sentences, x: [B * S, C]; returns [B * S, C]."""
        x = source.without_padding(g, self._columns(g, x))
        convolved = self._dynamic_over(g, x, source) if self.dynamic else self._shared_over(g, x, source)
        return self.weights.linear(g, g.reshape(convolved, -1, self.channels), self.module.linear2)

    def _shared_over(self, g: Graph, x: Value, source: Source) -> Value:
        over_time = g.op("Transpose", g.reshape(x, source.size, self.channels), perm=[0, 2, 1])
        taps = self._shared_taps(g)
        kernels = g.derived(("kernels", taps), lambda home: home.op("Unsqueeze", taps, home.constant([1])))
        pads = [self.module.left, self.kernel_size - 1 - self.module.left]
        return g.op("Transpose", g.op("Conv", over_time, kernels, group=self.channels, pads=pads), perm=[0, 2, 1])

    def _dynamic_over(self, g: Graph, x: Value, source: Source) -> Value:
        """Each position's kernel times the window that it lies in."""
        taps = self._dynamic_taps(g, x, source.size, self.heads, 1)
        pads = [0, self.module.left, 0, 0, self.kernel_size - 1 - self.module.left, 0]
        padded = g.op("Pad", g.reshape(x, source.size, self.channels), g.constant(pads))
        windows = g.op("Gather", padded, self._window_places(g, source), axis=1)
        by_head = g.reshape(windows, source.size, self.kernel_size, self.heads, -1)
        return g.op("MatMul", taps, g.op("Transpose", by_head, perm=[0, 1, 3, 2, 4]))

    def _window_places(self, g: Graph, source: Source) -> Value:
        """The columns of the padded sentence that the window of each position has, [S, K]."""
        length = g.op("Squeeze", source.length)
        starts = g.op("Range", g.constant(np.int64(0)), length, g.constant(np.int64(1)))
        return g.op("Add", g.reshape(starts, -1, 1), g.constant(np.arange(self.kernel_size).reshape(1, -1)))

    def begin(self, g: Graph, rows: Value) -> List[State]:
        """Columns of zeros before the first step, [N, K - 1, C]."""
        shape = g.shape(rows, self.kernel_size - 1, self.channels)
        zeros = g.op("Expand", g.constant(np.zeros((1, 1, 1), np.float32)), shape)
        return [State(zeros, np.float32, ["rows", self.kernel_size - 1, self.channels], "row")]

    def step(self, g: Graph, x: Value, states: List[Value]) -> Tuple[Value, List[Value]]:
        """Convolve the next column, x: [N, C]; returns [N, C] and the last K - 1 columns."""
        x = self._columns(g, x)
        last = g.reshape(x, -1, 1, self.channels)
        columns = g.op("Concat", states[0], last, axis=1)
        ends = (g.constant([1]), g.constant([self.kernel_size]), g.constant([1]))
        remembered = g.op("Slice", columns, *ends)
        convolved = self._dynamic_step(g, x, columns) if self.dynamic else self._shared_step(g, columns)
        return self.weights.linear(g, convolved, self.module.linear2), [remembered]

    def _shared_step(self, g: Graph, columns: Value) -> Value:
        taps = self._shared_taps(g)
        by_tap = g.derived(("by tap", taps), lambda home: home.op("Transpose", taps, perm=[1, 0]))
        return g.op("ReduceSum", g.op("Mul", columns, by_tap), g.constant([1]), keepdims=0)

    def _dynamic_step(self, g: Graph, x: Value, columns: Value) -> Value:
        taps = self._dynamic_taps(g, x, -1, self.heads, 1)
        by_head = g.reshape(columns, -1, self.kernel_size, self.heads, self.channels // self.heads)
        convolved = g.op("MatMul", taps, g.op("Transpose", by_head, perm=[0, 2, 1, 3]))
        return g.reshape(convolved, -1, self.channels)
