"""The sentences that an encoder reads, as values of a graph."""

from __future__ import annotations

from typing import Optional

import numpy as np

from fairseq_lite.export.graph import Graph, Value

# Its exponential is 0, as that of minus infinity is.
FINITE = -1e30


class Source:
    """Token ids [B, S], padded on the right, and what every layer wants to know of them.

    Layers take and give x: [S * B, C], the words at one position side by side as in fairseq. Products take the heads of
    such words where they are; those of a sentence's words side by side would be copied first.
    """

    def __init__(self, g: Graph, tokens: Value, pad: int):
        self.by_position = g.op("Transpose", tokens, perm=[1, 0])
        self.size = g.op("Shape", self.by_position)
        self.sentences = g.op("Shape", tokens, start=0, end=1)
        self.length = g.op("Shape", tokens, start=1, end=2)
        self.padding = g.op("Equal", tokens, g.constant(pad))
        self.kept = g.op("Cast", g.op("Not", self.padding), to=1)
        # 1 for words and 0 for padding, for x: [S * B, C]
        self.kept_rows = g.reshape(g.op("Transpose", self.kept, perm=[1, 0]), -1, 1)
        # added to the scores of attention, [B, 1, 1, S]
        self.mask = self._mask(g, -np.inf)

    def _mask(self, g: Graph, masked: float) -> Value:
        mask = g.op("Where", self.padding, g.constant(np.float32(masked)), g.constant(np.float32(0)))
        return g.op("Unsqueeze", mask, g.constant([1, 2]))

    def finite_mask(self, g: Graph) -> Value:
        """The mask for products, in which an infinite one could meet a zero, [B, 1, 1, S]."""
        return self._mask(g, FINITE)

    def corner(self, g: Graph, matrices: Value) -> Value:
        """The first S rows and columns of matrices: [1, H, L, L]."""
        ends = g.shape(self.length, self.length)
        return g.op("Slice", matrices, g.constant([0, 0]), ends, g.constant([2, 3]))

    def shorter_than(self, g: Graph, length: int) -> Value:
        """Whether S is less than `length`, bool: []."""
        return g.op("Less", g.op("Squeeze", self.length), g.constant(length))

    def without_padding(self, g: Graph, x: Value) -> Value:
        """x: [S * B, C] with zeros on padding."""
        return g.op("Mul", x, self.kept_rows)

    def heads(self, g: Graph, x: Value, heads: int) -> Value:
        """x: [S * B, H * d] as [B, H, S, d]."""
        return g.op("Transpose", g.reshape(x, self.size, heads, -1), perm=[1, 2, 0, 3])

    def heads_across(self, g: Graph, x: Value, heads: int) -> Value:
        """x: [S * B, H * d] as [B, H, d, S]."""
        return g.op("Transpose", g.reshape(x, self.size, heads, -1), perm=[1, 2, 3, 0])

    def joined(self, g: Graph, x: Value, channels: int) -> Value:
        """x: [B, H, S, d] as [S * B, H * d]."""
        return g.reshape(g.op("Transpose", x, perm=[2, 0, 1, 3]), -1, channels)


def query_heads(g: Graph, q: Value, heads: int, width: int, sentences: Optional[Value]) -> Value:
    """q: [N, H * d], the rows of a sentence side by side, as [B, H, N / B, d]; B = N where `sentences` is None."""
    if sentences is None:
        return g.reshape(q, -1, heads, 1, width)
    return g.op("Transpose", g.reshape(q, sentences, -1, heads, width), perm=[0, 2, 1, 3])


def joined_rows(g: Graph, x: Value, channels: int, sentences: Optional[Value]) -> Value:
    """x: [B, H, N / B, d] as [N, H * d]; B = N where `sentences` is None."""
    if sentences is not None:
        x = g.op("Transpose", x, perm=[0, 2, 1, 3])
    return g.reshape(x, -1, channels)
