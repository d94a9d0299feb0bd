"""The best next words: of each row, and of a sentence's rows together."""

from __future__ import annotations

from typing import NamedTuple, Tuple

import numpy as np

from fairseq_lite.export.columns import Columns
from fairseq_lite.export.graph import Graph, Value


class Candidates(NamedTuple):
    """Words that may follow, best first: sum of log-probabilities, word, row that it follows; each [b, C]."""

    sums: Value
    words: Value
    parents: Value


class Selection:
    """Choice of words from log-probabilities; how many is known before the loops.

    Args:
        beam: hypotheses a sentence, int64: []
    """

    def __init__(self, g: Graph, columns: Columns, beam: Value):
        self.columns, self.block, self.blocks = columns, columns.block, columns.blocks
        beam = g.op("Reshape", beam, g.constant([1]))
        # twice as many as there are beams, because half of them may be eos
        wanted = g.op("Mul", beam, g.constant(2))
        blocks = g.op("Mul", beam, self.blocks)
        self.top_blocks = g.op("Min", wanted, blocks)
        self.in_all = g.op("Min", wanted, g.op("Mul", self.top_blocks, g.constant(self.block)))
        # shapes: the rows of a sentence together, their blocks, the words in these
        self.by_row, self.by_block = g.shape(-1, beam), g.shape(-1, blocks)
        self.by_word, self.by_blocks = g.shape(-1, blocks, self.block), g.shape(-1, self.blocks, self.block)

    def best(self, g: Graph, scores: Value) -> Tuple[Value, Value]:
        """The best word of each row: log-probability [n], word [n]."""
        if self.block == 1:
            return self._max(g, scores), self.columns.word(g, g.op("ArgMax", scores, axis=1, keepdims=0))
        blocks, maxima = self._maxima(g, scores)
        block = g.op("ArgMax", maxima, axis=1, keepdims=1)
        inside = g.op("ArgMax", g.op("GatherND", blocks, block, batch_dims=1), axis=1, keepdims=0)
        first = g.op("Mul", g.op("Squeeze", block, g.constant([1])), g.constant(self.block))
        return self._max(g, maxima), self.columns.word(g, g.op("Add", first, inside))

    def top(self, g: Graph, scores: Value, sums: Value, first_rows: Value) -> Candidates:
        """The best continuations of each sentence: those of its rows are found together.

        Args:
            scores: log-probabilities [n, V]
            sums: sum of log-probabilities of each row so far: [n]
            first_rows: first row of each sentence, int64: [b, 1]
        """
        blocks, maxima = self._maxima(g, scores)
        maxima = g.op("Add", maxima, g.op("Unsqueeze", sums, g.constant([1])))
        _, chosen = g.op("TopK", g.op("Reshape", _alive(g, maxima), self.by_block), self.top_blocks, outputs=2)
        row, size, column = g.op("Div", chosen, self.blocks), g.constant(self.block), g.constant([2])
        found = g.op("GatherND", g.op("Reshape", blocks, self.by_word), g.op("Unsqueeze", chosen, column), batch_dims=1)
        so_far = g.op("GatherElements", g.op("Reshape", sums, self.by_row), row, axis=1)
        found = _alive(g, g.op("Add", found, g.op("Unsqueeze", so_far, column)))
        sums, places = g.op("TopK", g.op("Flatten", found, axis=1), self.in_all, outputs=2)
        block = g.op("GatherElements", chosen, g.op("Div", places, size), axis=1)
        found = g.op("Add", g.op("Mul", g.op("Mod", block, self.blocks), size), g.op("Mod", places, size))
        parents = g.op("Add", g.op("Div", block, self.blocks), first_rows)
        return Candidates(sums, self.columns.word(g, found), parents)

    def _maxima(self, g: Graph, scores: Value) -> Tuple[Value, Value]:
        blocks = g.op("Reshape", scores, self.by_blocks)
        return blocks, g.op("ReduceMax", blocks, g.constant([2]), keepdims=0)

    def _max(self, g: Graph, scores: Value) -> Value:
        return g.op("ReduceMax", scores, g.constant([1]), keepdims=0)


def _alive(g: Graph, sums: Value) -> Value:
    """A row whose scores are not numbers is dead."""
    return g.op("Where", g.op("IsNaN", sums), g.constant(-np.inf), sums)
