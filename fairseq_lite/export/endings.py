"""Hypotheses that end: where they are kept, which ones go on, which sentences are finished."""

from __future__ import annotations

from typing import List, NamedTuple, Tuple

import numpy as np
from onnx import TensorProto

from fairseq_lite.export.graph import Graph, Value
from fairseq_lite.export.rows import Typed
from fairseq_lite.export.selection import Candidates


class Hypotheses(NamedTuple):
    """Ended hypotheses; a place that is still empty has score -inf and length 0.

    Args:
        tokens: words with eos, then pad, int64: [b, beam, W]
        scores: normalised by length: [b, beam]
        lengths: words with eos, int64: [b, beam]
    """

    tokens: Value
    scores: Value
    lengths: Value

    def typed(self) -> List[Typed]:
        """The values as a loop carries them."""
        return [Typed(value, dtype, rank) for value, (dtype, rank) in zip(self, KEPT)]


KEPT = ((np.int64, 3), (np.float32, 2), (np.int64, 2))


class Rows(NamedTuple):
    """What goes on: the row each comes from, its newest word, its sum of log-probabilities; each [b, beam]."""

    parents: Value
    words: Value
    sums: Value


def no_hypotheses(g: Graph, sentences: Value, beam: Value, width: Value, pad: int) -> Hypotheses:
    """Empty places; all arguments but pad int64: []."""
    sizes = [g.op("Reshape", size, g.constant([1])) for size in (sentences, beam, width)]
    places, words = g.op("Concat", *sizes[:2], axis=0), g.op("Concat", *sizes, axis=0)
    return Hypotheses(
        g.op("Expand", g.constant(pad), words),
        g.op("Expand", g.constant(-np.inf), places),
        g.op("Expand", g.constant(0), places),
    )


class Endings:
    """Which hypotheses end in a step.

    Args:
        beam: hypotheses a sentence, int64: []
        lenpen: power of the length that divides a score: []
        longest: most words before the eos of each sentence, int64: [b]
    """

    def __init__(self, eos: int, pad: int, beam: Value, lenpen: Value, longest: Value):
        self.eos, self.pad, self.beam, self.lenpen, self.longest = eos, pad, beam, lenpen, longest

    def any(self, g: Graph, words: Value) -> Value:
        """Whether there is an eos, bool: []."""
        return any_of(g, g.op("Equal", words, g.constant(self.eos)))

    def first(self, g: Graph, value: Value) -> Value:
        """The first `beam` of the candidates: [b, C] -> [b, beam]."""
        return g.op("Slice", value, g.constant([0]), g.op("Reshape", self.beam, g.constant([1])), g.constant([1]))

    def end(
        self, g: Graph, kept: Hypotheses, found: Candidates, history: Value, length: Value
    ) -> Tuple[Hypotheses, Value, Rows]:
        """Keep the hypotheses that end, and choose those that go on.

        Args:
            history: words of each row from the start on, int64: [n, length]
            length: words of a hypothesis that ends here, with its eos, int64: []

        Returns:
            ended hypotheses, which sentences are finished (bool: [b]), rows that go on
        """
        alive = g.op("Greater", found.sums, g.constant(-np.inf))
        eos = g.op("And", g.op("Equal", found.words, g.constant(self.eos)), alive)
        before = self._count(g, g.op("Greater", kept.lengths, g.constant(0)))
        ended = g.op("Cast", self.first(g, eos), to=TensorProto.INT64)
        places = g.op("Add", before, g.op("CumSum", ended, g.constant(1), exclusive=1))
        fits = g.op("And", g.op("Less", places, self.beam), self.first(g, eos))
        which = g.op("Transpose", g.op("NonZero", fits), perm=[1, 0])
        kept = self._put(g, kept, found, history, length, places, which)
        rows, dead = self._go_on(g, found, eos)
        full = g.op("Less", self._count(g, g.op("Greater", kept.lengths, g.constant(0))), self.beam)
        finished = g.op("Or", g.op("Not", g.op("Squeeze", full, g.constant([1]))), dead)
        return kept, g.op("Or", finished, g.op("Greater", length, self.longest)), rows

    def end_alone(
        self, g: Graph, kept: Hypotheses, words: Value, sums: Value, history: Value, length: Value
    ) -> Tuple[Hypotheses, Value]:
        """The same for one hypothesis a sentence, which goes on in its own row.

        Args:
            words: newest word of each sentence, int64: [b]
            sums: sum of log-probabilities: [b]
            history: words of each sentence from the start on, int64: [b, length]
        """
        column = g.constant([1])
        alive = g.op("Greater", sums, g.constant(-np.inf))
        ended = g.op("And", g.op("Equal", words, g.constant(self.eos)), alive)
        scores = g.op("Where", ended, self._normalised(g, sums, length), g.constant(-np.inf))
        lengths = g.op("Where", ended, length, g.constant(0))
        tokens = self._with_eos(g, history, length, kept.tokens)
        tokens = g.op("Where", g.op("Unsqueeze", ended, column), tokens, g.constant(self.pad))
        found = Hypotheses(*(g.op("Unsqueeze", value, column) for value in (tokens, scores, lengths)))
        over = g.op("Or", ended, g.op("Not", alive))
        return found, g.op("Or", over, g.op("Greater", length, self.longest))

    def _count(self, g: Graph, mask: Value) -> Value:
        return g.op("ReduceSum", g.op("Cast", mask, to=TensorProto.INT64), g.constant([1]), keepdims=1)

    def _put(self, g, kept, found, history, length, places, which) -> Hypotheses:
        """Write the E hypotheses at `which` (sentence, candidate: [E, 2]) into the places of their sentences."""
        sentence = g.op("Slice", which, g.constant([0]), g.constant([1]), g.constant([1]))
        place = g.op("Unsqueeze", g.op("GatherND", places, which), g.constant([1]))
        target = g.op("Concat", sentence, place, axis=1)
        words = g.op("Gather", history, g.op("GatherND", found.parents, which))
        words = self._with_eos(g, words, length, kept.tokens)
        score = self._normalised(g, g.op("GatherND", found.sums, which), length)
        count = g.op("Expand", length, g.op("Shape", score))
        return Hypotheses(*(g.op("ScatterND", old, target, new) for old, new in zip(kept, (words, score, count))))

    def _normalised(self, g: Graph, sums: Value, length: Value) -> Value:
        return g.op("Div", sums, g.op("Pow", g.op("Cast", length, to=TensorProto.FLOAT), self.lenpen))

    def _with_eos(self, g: Graph, history: Value, length: Value, tokens: Value) -> Value:
        """The words after the start, then eos, and pad up to the width of the kept hypotheses."""
        words = g.op("Slice", history, g.constant([1]), g.op("Reshape", length, g.constant([1])), g.constant([1]))
        zeros = g.constant([0, 0])
        words = g.op("Pad", words, g.op("Concat", zeros, g.constant([0, 1]), axis=0), g.constant(self.eos))
        width = g.op("Sub", g.op("Shape", tokens, start=2, end=3), g.op("Shape", words, start=1, end=2))
        return g.op("Pad", words, g.op("Concat", zeros, g.constant([0]), width, axis=0), g.constant(self.pad))

    def _go_on(self, g: Graph, found: Candidates, eos: Value) -> Tuple[Rows, Value]:
        """The best candidates without eos, and which sentences have none."""
        count = g.op("Squeeze", g.op("Shape", eos, start=1, end=2))
        order = g.op("Range", g.constant(0), count, g.constant(1))
        order = g.op("Add", order, g.op("Mul", g.op("Cast", eos, to=TensorProto.INT64), count))
        beam = g.op("Reshape", self.beam, g.constant([1]))
        key, chosen = g.op("TopK", order, beam, outputs=2, largest=0)
        parents, words, sums = (
            g.op("GatherElements", value, chosen, axis=1) for value in (found.parents, found.words, found.sums)
        )
        sums = g.op("Where", g.op("Less", key, count), sums, g.constant(-np.inf))
        best = g.op("ReduceMax", sums, g.constant([1]), keepdims=0)
        return Rows(parents, words, sums), g.op("Not", g.op("Greater", best, g.constant(-np.inf)))


def any_of(g: Graph, mask: Value) -> Value:
    """Whether any entry is true, bool: []."""
    return g.op("ReduceMax", mask, keepdims=0)


def collect(g: Graph, final: Hypotheses, kept: Hypotheses, ids: Value) -> Hypotheses:
    """Write what is kept of b sentences to their places among all B; ids int64: [b]."""
    target = g.op("Unsqueeze", ids, g.constant([1]))
    return Hypotheses(*(g.op("ScatterND", all_, target, some) for all_, some in zip(final, kept)))


def by_score(g: Graph, final: Hypotheses, beam: Value) -> Hypotheses:
    """The best first, with no more columns than the longest needs."""
    scores, order = g.op("TopK", final.scores, g.op("Reshape", beam, g.constant([1])), outputs=2)
    lengths = g.op("GatherElements", final.lengths, order, axis=1)
    tokens = g.op("GatherND", final.tokens, g.op("Unsqueeze", order, g.constant([2])), batch_dims=1)
    longest = g.op("Reshape", g.op("ReduceMax", lengths, keepdims=0), g.constant([1]))
    return Hypotheses(g.op("Slice", tokens, g.constant([0]), longest, g.constant([2])), scores, lengths)
