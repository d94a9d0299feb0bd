"""The best next words: of each row, and of a sentence's rows together."""

from __future__ import annotations

from typing import NamedTuple, Tuple

import numpy as np

from fairseq_lite.export.graph import Graph, Value

# a vocabulary is searched in blocks: the best words are in the blocks with the largest maxima
SMALLEST_BLOCK, LARGEST_BLOCK = 4, 256


class Candidates(NamedTuple):
    """Words that may follow, best first: sum of log-probabilities, word, row that it follows; each [b, C]."""

    sums: Value
    words: Value
    parents: Value


def block_size(vocabulary: int) -> int:
    """The divisor of the vocabulary's size that lies nearest its square root, 1 where none is of use."""
    sizes = [size for size in range(SMALLEST_BLOCK, LARGEST_BLOCK + 1) if vocabulary % size == 0]
    return min(sizes, key=lambda size: size + vocabulary // size, default=1)


class Selection:
    """Choice of words from log-probabilities; how many is known before the loops.

    Args:
        beam: hypotheses a sentence, int64: []
    """

    def __init__(self, g: Graph, vocabulary: int, beam: Value):
        self.block = block_size(vocabulary)
        self.blocks = vocabulary // self.block
        beam = g.op("Reshape", beam, g.constant([1]))
        # twice as many as there are beams, because half of them may be eos
        wanted = g.op("Mul", beam, g.constant(2))
        self.top_blocks = g.op("Min", wanted, g.constant(self.blocks))
        self.per_row = g.op("Min", wanted, g.op("Mul", self.top_blocks, g.constant(self.block)))
        self.in_all = g.op("Min", wanted, g.op("Mul", beam, self.per_row))

    def best(self, g: Graph, scores: Value) -> Tuple[Value, Value]:
        """The best word of each row: log-probability [n], word [n]."""
        if self.block == 1:
            return self._max(g, scores), g.op("ArgMax", scores, axis=1, keepdims=0)
        blocks, maxima = self._maxima(g, scores)
        block = g.op("ArgMax", maxima, axis=1, keepdims=1)
        inside = g.op("ArgMax", g.op("GatherND", blocks, block, batch_dims=1), axis=1, keepdims=0)
        first = g.op("Mul", g.op("Squeeze", block, g.constant([1])), g.constant(self.block))
        return self._max(g, maxima), g.op("Add", first, inside)

    def top(self, g: Graph, scores: Value) -> Tuple[Value, Value]:
        """The best words of each row: log-probabilities [n, K], words [n, K]."""
        if self.block == 1:
            return g.op("TopK", scores, self.per_row, outputs=2)
        blocks, maxima = self._maxima(g, scores)
        _, chosen = g.op("TopK", maxima, self.top_blocks, outputs=2)
        found = g.op("GatherND", blocks, g.op("Unsqueeze", chosen, g.constant([2])), batch_dims=1)
        best, places = g.op("TopK", g.op("Flatten", found, axis=1), self.per_row, outputs=2)
        size = g.constant(self.block)
        block = g.op("GatherElements", chosen, g.op("Div", places, size), axis=1)
        return best, g.op("Add", g.op("Mul", block, size), g.op("Mod", places, size))

    def together(self, g: Graph, best: Value, words: Value, sums: Value, first_rows: Value) -> Candidates:
        """The best continuations of each sentence.

        Args:
            best, words: what `top` found: [n, K]
            sums: sum of log-probabilities of each row so far: [n]
            first_rows: first row of each sentence, int64: [b, 1]
        """
        total = g.op("Add", best, g.op("Unsqueeze", sums, g.constant([1])))
        # a row whose scores are not numbers is dead
        total = g.op("Where", g.op("IsNaN", total), g.constant(-np.inf), total)
        shape = g.op("Concat", g.op("Shape", first_rows, start=0, end=1), g.constant([-1]), axis=0)
        sums, places = g.op("TopK", g.op("Reshape", total, shape), self.in_all, outputs=2)
        words = g.op("GatherElements", g.op("Reshape", words, shape), places, axis=1)
        return Candidates(sums, words, g.op("Add", g.op("Div", places, self.per_row), first_rows))

    def _maxima(self, g: Graph, scores: Value) -> Tuple[Value, Value]:
        blocks = g.op("Reshape", scores, g.constant([-1, self.blocks, self.block]))
        return blocks, g.op("ReduceMax", blocks, g.constant([2]), keepdims=0)

    def _max(self, g: Graph, scores: Value) -> Value:
        return g.op("ReduceMax", scores, g.constant([1]), keepdims=0)
