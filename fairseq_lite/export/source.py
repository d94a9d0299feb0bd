"""The sentences that an encoder reads, as values of a graph."""

from __future__ import annotations

import numpy as np

from fairseq_lite.export.graph import Graph, Value


class Source:
    """Token ids [B, S], padded on the right, and what every layer wants to know of them.

    Layers take and give x: [B * S, C].
    """

    def __init__(self, g: Graph, tokens: Value, pad: int):
        self.tokens = tokens
        self.size = g.op("Shape", tokens)
        self.sentences = g.op("Shape", tokens, start=0, end=1)
        self.length = g.op("Shape", tokens, start=1, end=2)
        self.padding = g.op("Equal", tokens, g.constant(pad))
        self.kept = g.op("Cast", g.op("Not", self.padding), to=1)
        # 1 for words and 0 for padding, for x: [B * S, C]
        self.kept_rows = g.reshape(self.kept, -1, 1)
        # added to the scores of attention, [B, H, queries, S]
        infinite = g.constant(np.float32(-np.inf))
        mask = g.op("Where", self.padding, infinite, g.constant(np.float32(0)))
        self.mask = g.op("Unsqueeze", mask, g.constant([1, 2]))

    def without_padding(self, g: Graph, x: Value) -> Value:
        """x: [B * S, C] with zeros on padding."""
        return g.op("Mul", x, self.kept_rows)

    def heads(self, g: Graph, x: Value, heads: int, order: tuple = (0, 2, 1, 3)) -> Value:
        """x: [B * S, H * d] as [B, S, H, d] in another order, by default [B, H, S, d]."""
        return g.op("Transpose", g.reshape(x, self.size, heads, -1), perm=list(order))


def joined_heads(g: Graph, x: Value, channels: int) -> Value:
    """x: [B, H, T, d] as [B * T, H * d]."""
    return g.reshape(g.op("Transpose", x, perm=[0, 2, 1, 3]), -1, channels)
