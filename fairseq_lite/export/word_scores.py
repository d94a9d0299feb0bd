"""Log-probabilities of the next word under the search's rules: lengths, unknown words, prefixes, repeated n-grams."""

from __future__ import annotations

from typing import Dict, List, NamedTuple, Optional

import numpy as np
from onnx import TensorProto

from fairseq_lite.export.columns import Columns
from fairseq_lite.export.graph import Graph, Value
from fairseq_lite.export.rows import Typed

NEVER = -np.inf


class Words(NamedTuple):
    """Ids of the words that the search treats by themselves; `start` comes before the first word."""

    start: int
    pad: int
    eos: int
    unk: int


class Sentences(NamedTuple):
    """What the rules keep of each sentence that isn't finished.

    Args:
        ids: its place in the batch, int64: [b]
        longest: most words before its eos, int64: [b]
        prefix: forced first words, pad where a word is free, and a column of pad, int64: [b, P + 1]
        forced: length of its own prefix, int64: [b]
    """

    ids: Value
    longest: Value
    prefix: Value
    forced: Value

    def typed(self) -> List[Typed]:
        """The values as a loop carries them."""
        return [Typed(value, np.int64, rank) for value, rank in zip(self, (1, 1, 2, 1))]


class Corrections(NamedTuple):
    """What is added to the log-probabilities of eos, pad and unk; columns: [n, 3], added: [2, n, 3]."""

    columns: Value
    added: Value


class WordScores:
    """The rules of a search; tables over the steps are made once, before the loops.

    Args:
        lengths: length of each source with its eos, int64: [B]
        prefix: forced first words, int64: [B, P]
        options: the inputs of the search, each of shape []
        max_target: positions that the decoder takes, None for any number
    """

    def __init__(
        self,
        g: Graph,
        columns: Columns,
        words: Words,
        options: Dict[str, Value],
        lengths: Value,
        prefix: Value,
        max_target: Optional[int],
    ):
        self.columns, self.words, self.options = columns, words, options
        longest = _longest(g, options, lengths, max_target)
        self.first = Sentences(
            g.op("Range", g.constant(0), g.op("Size", lengths), g.constant(1)),
            longest,
            g.op("Concat", prefix, _columns_of_pad(g, lengths, words.pad), axis=1),
            _own_lengths(g, prefix, lengths, words.pad),
        )
        self.prefix_columns = g.op("Squeeze", g.op("Shape", prefix, start=1, end=2))
        self._tables(g, longest)
        self._added = self._first_corrections(g)

    def _tables(self, g: Graph, longest: Value) -> None:
        """By step: whether a rule holds that needs more than the corrections, whether eos is never right."""
        soonest = g.op("ReduceMin", longest, keepdims=0)
        self.width = g.op("Add", g.op("ReduceMax", longest, keepdims=0), g.constant(1))
        steps = g.op("Range", g.constant(0), self.width, g.constant(1))
        in_prefix = g.op("Less", steps, self.prefix_columns)
        self.last = g.op("GreaterOrEqual", steps, soonest)
        no_repeats = g.op("Greater", self.options["no_repeat_ngram"], g.constant(0))
        self.special = g.op("Or", g.op("Or", in_prefix, self.last), no_repeats)
        too_short = g.op("Less", steps, g.op("Min", self.options["min_len"], soonest))
        too_short = g.op("And", too_short, g.op("Not", in_prefix))
        self.too_short = g.op("Cast", too_short, to=TensorProto.INT64)

    def _first_corrections(self, g: Graph) -> Value:
        unk = g.op("Reshape", g.op("Neg", self.options["unk_penalty"]), g.constant([1, 1, 1]))
        unk = g.op("Expand", unk, g.constant([2, 1, 1]))
        return g.op("Concat", g.constant([[[0.0, NEVER]], [[NEVER, NEVER]]]), unk, axis=2)

    def corrections(self, g: Graph, rows: Value) -> Corrections:
        """Corrections for n rows, int64: [1]."""
        columns = g.constant([[self.words.eos, self.words.pad, self.words.unk]])
        columns = g.op("Expand", columns, g.op("Concat", rows, g.constant([3]), axis=0))
        added = g.op("Expand", self._added, g.op("Concat", g.constant([2]), rows, g.constant([3]), axis=0))
        return Corrections(columns, added)

    def log_probabilities(self, g: Graph, logits: Value, step: Value, corrections: Corrections) -> Value:
        """Log-probabilities [n, W] with pad banned, unk penalised and eos banned while all are too short."""
        scores = g.op("LogSoftmax", logits, axis=-1)
        added = g.op("Gather", corrections.added, g.op("Gather", self.too_short, step))
        # nothing else reads the log-probabilities, so that this writes in place
        return g.op("ScatterElements", scores, corrections.columns, added, axis=1, reduction="add")

    def is_special(self, g: Graph, step: Value) -> Value:
        """Whether `constrain` has something to do at this step, bool: []."""
        return g.op("Gather", self.special, step)

    def constrain(
        self, g: Graph, scores: Value, history: Value, step: Value, sentences: Sentences, beam: Value
    ) -> Value:
        """Apply prefixes, longest lengths and n-grams that may not come again.

        Args:
            scores: log-probabilities, float: [n, W]
            history: the words so far from the start on, int64: [n, step + 1]
        """
        eos, pad, never = g.constant(self.words.eos), g.constant(self.words.pad), g.constant(NEVER)
        at_end = g.op("GreaterOrEqual", step, sentences.longest)
        here = g.op("Gather", sentences.prefix, g.op("Min", step, self.prefix_columns), axis=1)
        forced = self._by_row(g, g.op("Where", at_end, eos, here), beam)
        short = g.op("And", g.op("Less", step, self.options["min_len"]), g.op("GreaterOrEqual", step, sentences.forced))
        short = self._by_row(g, short, beam)
        every = self.columns.words
        free = self._without_repeats(g, scores, history)
        free = g.op("Where", g.op("And", short, g.op("Equal", every, eos)), never, free)
        one = g.op("Where", g.op("Equal", every, forced), scores, never)
        return g.op("Where", g.op("Equal", forced, pad), free, one)

    def _by_row(self, g: Graph, value: Value, beam: Value) -> Value:
        """[b] -> [b * beam, 1]."""
        shape = g.op("Concat", g.constant([1]), g.op("Reshape", beam, g.constant([1])), axis=0)
        return g.op("Reshape", g.op("Expand", g.op("Unsqueeze", value, g.constant([1])), shape), g.constant([-1, 1]))

    def _without_repeats(self, g: Graph, scores: Value, history: Value) -> Value:
        """Ban each word that would end an n-gram that is in the history already; eos is never banned."""
        zero, one, size = g.constant(0), g.constant(1), self.options["no_repeat_ngram"]
        length = g.op("Squeeze", g.op("Shape", history, start=1, end=2))
        windows = g.op("Max", zero, g.op("Sub", g.op("Add", length, one), size))
        windows = g.op("Where", g.op("Greater", size, zero), windows, zero)
        context = g.op("Max", zero, g.op("Sub", size, one))
        first, inside = (g.op("Range", zero, end, one) for end in (windows, context))
        index = g.op("Add", g.op("Unsqueeze", first, g.constant([1])), inside)
        earlier = g.op("Gather", history, index, axis=1)
        latest = g.op("Max", zero, g.op("Add", g.op("Sub", length, context), inside))
        latest = g.op("Unsqueeze", g.op("Gather", history, latest, axis=1), g.constant([1]))
        differ = g.op("Cast", g.op("Not", g.op("Equal", earlier, latest)), to=TensorProto.INT64)
        same = g.op("Equal", g.op("ReduceSum", differ, g.constant([2]), keepdims=0), zero)
        follower = g.op("Gather", history, g.op("Add", first, context), axis=1)
        same = g.op("And", same, g.op("Not", g.op("Equal", follower, g.constant(self.words.eos))))
        bound = g.op("Where", same, g.constant(NEVER), g.constant(np.inf))
        return g.op("ScatterElements", scores, self.columns.column(g, follower), bound, axis=1, reduction="min")


def _longest(g: Graph, options: Dict[str, Value], lengths: Value, max_target: Optional[int]) -> Value:
    """fairseq's max_len, by each sentence's own length: min(a * length + b, max_target - 1)."""
    grown = g.op("Mul", options["max_len_a"], g.op("Cast", lengths, to=TensorProto.FLOAT))
    longest = g.op("Add", g.op("Cast", grown, to=TensorProto.INT64), options["max_len_b"])
    longest = g.op("Max", longest, g.constant(0))
    return longest if max_target is None else g.op("Min", longest, g.constant(max_target - 1))


def _columns_of_pad(g: Graph, lengths: Value, pad: int) -> Value:
    return g.op("Add", g.op("Mul", g.op("Unsqueeze", lengths, g.constant([1])), g.constant(0)), g.constant(pad))


def _own_lengths(g: Graph, prefix: Value, lengths: Value, pad: int) -> Value:
    """Place of the last word in each prefix, from 1 on; 0 where there is none."""
    columns = g.op("Squeeze", g.op("Shape", prefix, start=1, end=2), g.constant([0]))
    places = g.op("Range", g.constant(1), g.op("Add", columns, g.constant(1)), g.constant(1))
    places = g.op("Where", g.op("Equal", prefix, g.constant(pad)), g.constant(0), places)
    # ReduceMax needs a column
    places = g.op("Concat", places, _columns_of_pad(g, lengths, 0), axis=1)
    return g.op("ReduceMax", places, g.constant([1]), keepdims=0)
