"""fairseq's beam search inside the graph: an outer loop over finished sentences, inner loops over steps.

An inner loop runs until a sentence is finished; the outer one then drops the finished sentences. There are two inner
loops, one for a beam of 1, which reorders nothing, and one for wider beams; the one that isn't needed runs no turn.
"""

from __future__ import annotations

from typing import Dict, List, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from fairseq_lite.export.columns import Columns, all_words
from fairseq_lite.export.endings import Endings, Hypotheses, Rows, any_of, by_score, collect, no_hypotheses
from fairseq_lite.export.graph import Graph, Value
from fairseq_lite.export.rows import SENTENCE, Decoder, Group, Typed, choose, loop_in_groups, per_row, typed
from fairseq_lite.export.selection import Candidates, Selection
from fairseq_lite.export.word_scores import Corrections, Sentences, Words, WordScores

# Rows of a step where a sentence has several hypotheses.
BEAM_ROWS = 4

# inputs of the search, each of shape []; fairseq's options of the same names, and their defaults
OPTIONS: Dict[str, Tuple[type, float]] = {
    "beam": (np.int64, 5),
    "lenpen": (np.float32, 1.0),
    "unk_penalty": (np.float32, 0.0),
    "min_len": (np.int64, 1),
    "max_len_a": (np.float32, 0.0),
    "max_len_b": (np.int64, 200),
    "no_repeat_ngram": (np.int64, 0),
}


class Progress(NamedTuple):
    """Where the search is.

    Args:
        step: number of words before the newest, int64: []
        parents: row of the states that each row comes from, int64: [n]
        words: newest word of each row, int64: [n]
        sums: log-probabilities of each row's words, added up: [n]
    """

    step: Value
    parents: Value
    words: Value
    sums: Value

    def typed(self) -> List[Typed]:
        """The values as a loop carries them."""
        return [Typed(*part) for part in zip(self, (np.int64, np.int64, np.int64, np.float32), (0, 1, 1, 1))]


def search_options(g: Graph, defaults: Optional[Dict[str, float]] = None) -> Dict[str, Value]:
    """Declare the search's options as inputs with defaults."""
    chosen = {**{name: default for name, (_, default) in OPTIONS.items()}, **(defaults or {})}
    return {name: g.input(name, dtype, [], chosen[name]) for name, (dtype, _) in OPTIONS.items()}


def beam_search(
    g: Graph,
    decoder: Decoder,
    sentences: List[Value],
    lengths: Value,
    prefix: Value,
    options: Dict[str, Value],
    words: Words,
    max_target: Optional[int] = None,
    columns: Optional[Columns] = None,
) -> Hypotheses:
    """Write the search for B sentences: the words and scores of fairseq's SequenceGenerator.

    Args:
        sentences: the encoder's outputs; empty for a language model
        lengths: length of each source with its eos, int64: [B]; `max_len_a` multiplies it
        prefix: forced first words of each sentence, pad where a word is free, int64: [B, P]
        options: what `search_options` declared
        max_target: positions that the decoder takes, None for any number
        columns: words that the decoder's logits are of, all by default

    Returns:
        tokens: [B, beam, T] with eos and then pad, scores: [B, beam] in falling order, lengths: [B, beam] with eos.
        A hypothesis that never ended has score -inf and length 0.
    """
    columns = columns or all_words(g, decoder.vocabulary)
    rules = WordScores(g, columns, words, options, lengths, prefix, max_target)
    return _Search(g, decoder, sentences, rules).write(g)


class _Search:
    """The outer loop, and what the inner ones read of it."""

    def __init__(self, g: Graph, decoder: Decoder, sentences: List[Value], rules: WordScores):
        self.decoder, self.rules, self.words = decoder, rules, rules.words
        wanted = g.op("Max", rules.options["beam"], g.constant(1))
        self.beam = g.op("Min", wanted, g.op("Sub", g.op("Size", rules.columns.words), g.constant(1)))
        self.greedy = g.op("Equal", self.beam, g.constant(1))
        self.selection = Selection(g, rules.columns, self.beam)
        self.sentences = g.op("Size", rules.first.ids)
        self.rows = g.op("Mul", self.sentences, self.beam)
        self.states = decoder.begin(g, sentences, self.rows)
        self.row_types = [typed(state) for state in self.states if state.per != SENTENCE]

    def write(self, g: Graph) -> Hypotheses:
        """Write the states before the first step, the outer loop, the order of the results."""
        none = no_hypotheses(g, self.sentences, self.beam, self.rules.width, self.words.pad)
        fixed = [typed(state) for state in self.states if state.per == SENTENCE]
        groups = [self._start(g).typed(), self.rules.first.typed(), none.typed(), none.typed(), fixed]
        groups += self._two_sets(g)
        body = g.body("finished_sentences")
        last = loop_in_groups(g, body, g.constant(True), groups, self._drop_finished)
        return by_score(g, Hypotheses(*last[3]), self.beam)

    def _start(self, g: Graph) -> Progress:
        rows = g.op("Range", g.constant(0), self.rows, g.constant(1))
        # the hypotheses of a sentence are all the same at first: only one may go on
        first = g.op("Equal", g.op("Mod", rows, self.beam), g.constant(0))
        sums = g.op("Where", first, g.constant(0.0), g.constant(-np.inf))
        start = g.op("Expand", g.constant(self.words.start), g.op("Reshape", self.rows, g.constant([1])))
        return Progress(g.constant(0), rows, start, sums)

    def _two_sets(self, g: Graph) -> List[List[Typed]]:
        """Row states and the words so far, for each inner loop; the set that isn't needed has no rows."""
        zero, none = g.constant([0]), g.constant(0)
        words = g.op("Expand", none, g.op("Concat", g.op("Reshape", self.rows, g.constant([1])), zero, axis=0))
        self.row_types.append(Typed(words, np.int64, 2))
        sets = []
        for rows in (g.op("Where", self.greedy, none, self.rows), g.op("Where", self.greedy, self.rows, none)):
            end = g.op("Reshape", rows, g.constant([1]))
            sets.append([s._replace(value=g.op("Slice", s.value, zero, end, zero)) for s in self.row_types])
        return sets

    def _drop_finished(self, body: Graph, groups: List[Group]) -> Tuple[Value, List[Group]]:
        """One turn of the outer loop."""
        progress, view, kept, final, fixed, beamed, single = groups
        progress, view, kept = Progress(*progress), Sentences(*view), Hypotheses(*kept)
        steps = _Steps(self, body, view, fixed)
        progress, finished, kept, beamed = steps.beams(progress, kept, beamed)
        progress, finished, kept, single = steps.greedy(progress, finished, kept, single)
        final = collect(body, Hypotheses(*final), kept, view.ids)

        keep = body.op("Squeeze", body.op("NonZero", body.op("Not", finished)), body.constant([0]))
        view, kept, fixed = ([body.op("Gather", v, keep) for v in group] for group in (view, kept, fixed))
        progress = self._of_sentences(body, progress, keep)
        narrow = body.op("Where", self.greedy, body.op("Size", progress.parents), body.constant(0))
        narrow = body.op("Reshape", narrow, body.constant([1]))
        rows = body.op("Slice", progress.parents, body.constant([0]), narrow, body.constant([0]))
        single = [body.op("Gather", value, rows) for value in single]
        go_on = body.op("Greater", body.op("Size", keep), body.constant(0))
        return go_on, [progress, view, kept, final, fixed, beamed, single]

    def _of_sentences(self, g: Graph, progress: Progress, keep: Value) -> Progress:
        """The rows of the sentences that are kept."""
        by_sentence = g.op("Concat", g.constant([-1]), g.op("Reshape", self.beam, g.constant([1])), axis=0)
        rows = [g.op("Gather", g.op("Reshape", value, by_sentence), keep) for value in progress[1:]]
        return Progress(progress.step, *(g.op("Reshape", value, g.constant([-1])) for value in rows))


class _Steps:
    """The two inner loops in one turn of the outer loop."""

    def __init__(self, search: _Search, outer: Graph, view: Sentences, fixed: Group):
        self.search, self.outer, self.view, self.fixed = search, outer, view, fixed
        self.rules, self.selection, self.beam = search.rules, search.selection, search.beam
        words = search.words
        self.endings = Endings(words.eos, words.pad, self.beam, self.rules.options["lenpen"], view.longest)
        rows = outer.op("Mul", outer.op("Size", view.ids), self.beam)
        self.first_rows = outer.op("Range", outer.constant(0), rows, self.beam)
        self.first_rows = outer.op("Unsqueeze", self.first_rows, outer.constant([1]))
        self.corrections: Corrections = self.rules.corrections(outer, outer.op("Reshape", rows, outer.constant([1])))

    def beams(self, progress: Progress, kept: Hypotheses, rows: Group) -> Tuple[Progress, Value, Hypotheses, Group]:
        """Run steps of several hypotheses a sentence until a sentence is finished."""
        outer = self.outer
        finished = Typed(outer.op("Less", self.view.longest, outer.constant(0)), np.bool_, 1)
        groups = [per_row(progress.typed()), [finished], kept.typed(), per_row(self._typed_rows(rows))]
        body = outer.body("steps", home=outer, rows=BEAM_ROWS)
        last = loop_in_groups(outer, body, outer.op("Not", self.search.greedy), groups, self._beam_step)
        return Progress(*last[0]), last[1][0], Hypotheses(*last[2]), last[3]

    def _beam_step(self, body: Graph, groups: List[Group]) -> Tuple[Value, List[Group]]:
        progress, kept = Progress(*groups[0]), Hypotheses(*groups[2])
        rows = [body.op("Gather", value, progress.parents) for value in groups[3]]
        scores, history, rows = self._step(body, progress, rows)
        top = lambda g, scores: self.selection.top(g, scores, progress.sums, self.first_rows)  # noqa: E731
        found = Candidates(*self._by_rules(body, scores, history, progress.step, top, 2))
        length = body.op("Add", progress.step, body.constant(1))
        some = body.op("Or", self.endings.any(body, self.endings.first(body, found.words)), self._last(body, progress))
        end = _Ending(self, kept, found, history, length)
        *kept, finished, parents, words, sums, go_on = choose(body, some, end.ended, end.none_ended)
        return go_on, [[length, parents, words, sums], [finished], kept, rows]

    def greedy(
        self, progress: Progress, finished: Value, kept: Hypotheses, rows: Group
    ) -> Tuple[Progress, Value, Hypotheses, Group]:
        """Run steps of one hypothesis a sentence until a sentence is finished; pass all on where beams are wider."""
        outer, greedy = self.outer, self.search.greedy
        step, parents, words, sums = progress.typed()
        body = outer.body("greedy_steps", home=outer, rows=1)
        groups = [per_row([step, words, sums]), per_row(self._typed_rows(rows))]
        (length, words, sums), rows = loop_in_groups(outer, body, greedy, groups, self._greedy_step)

        def ended(g: Graph) -> Sequence[Typed]:
            found, over = self.endings.end_alone(g, kept, words, sums, rows[-1], length)
            every = g.op("Squeeze", self.first_rows, g.constant([1]))
            return [*found.typed(), Typed(over, np.bool_, 1), parents._replace(value=every)]

        def as_it_is(g: Graph) -> Sequence[Typed]:
            return [*kept.typed(), Typed(finished, np.bool_, 1), parents]

        *last, finished, from_rows = choose(outer, greedy, ended, as_it_is)
        return Progress(length, from_rows, words, sums), finished, Hypotheses(*last), rows

    def _greedy_step(self, body: Graph, groups: List[Group]) -> Tuple[Value, List[Group]]:
        step, words, sums = groups[0]
        progress = Progress(step, words, words, sums)
        scores, history, rows = self._step(body, progress, groups[1], alone=True)
        best, words = self._by_rules(body, scores, history, step, self.selection.best, 1)
        length = body.op("Add", step, body.constant(1))
        some = body.op("Or", self.endings.any(body, words), self._last(body, progress))
        return body.op("Not", some), [[length, words, body.op("Add", sums, best)], rows]

    def _step(self, body: Graph, progress: Progress, rows: Group, alone: bool = False) -> Tuple[Value, Value, Group]:
        """One step of the decoder: log-probabilities [n, V], words so far [n, step + 1], row states after it."""
        rest, fixed = iter(rows), iter(self.fixed)
        states = [next(fixed) if state.per == SENTENCE else next(rest) for state in self.search.states]
        logits, after = self.search.decoder.step(body, progress.words, progress.step, states, body.home, alone)
        scores = self.rules.log_probabilities(body, logits, progress.step, self.corrections)
        newest = body.op("Unsqueeze", progress.words, body.constant([1]))
        history = body.op("Concat", rows[-1], newest, axis=1)
        return scores, history, [*after, history]

    def _by_rules(self, body: Graph, scores: Value, history: Value, step: Value, select, rank: int) -> List[Value]:
        """What `select` finds in the log-probabilities, sums and then ids, under the rules that hold at this step."""

        def special(g: Graph) -> Sequence[Typed]:
            return plain(g, self.rules.constrain(g, scores, history, step, self.view, self.beam))

        def plain(g: Graph, scores: Value = scores) -> Sequence[Typed]:
            sums, *ids = select(g, scores)
            return [Typed(sums, np.float32, rank), *(Typed(value, np.int64, rank) for value in ids)]

        return choose(body, self.rules.is_special(body, step), special, plain)

    def _last(self, body: Graph, progress: Progress) -> Value:
        return body.op("Gather", self.rules.last, progress.step)

    def _typed_rows(self, rows: Group) -> List[Typed]:
        return [state._replace(value=value) for value, state in zip(rows, self.search.row_types)]


class _Ending(NamedTuple):
    """The end of a step, with and without hypotheses that end."""

    steps: _Steps
    kept: Hypotheses
    found: Candidates
    history: Value
    length: Value

    def ended(self, g: Graph) -> List[Typed]:
        """Keep those that end; the loop stops where a sentence is finished."""
        kept, finished, rows = self.steps.endings.end(g, self.kept, self.found, self.history, self.length)
        return self._values(g, kept, finished, rows, g.op("Not", any_of(g, finished)))

    def none_ended(self, g: Graph) -> List[Typed]:
        """The best of each sentence go on."""
        first = self.steps.endings.first
        rows = Rows(first(g, self.found.parents), first(g, self.found.words), first(g, self.found.sums))
        finished = g.op("Less", self.steps.view.longest, g.constant(0))
        return self._values(g, self.kept, finished, rows, g.constant(True))

    def _values(self, g: Graph, kept: Hypotheses, finished: Value, rows: Rows, go_on: Value) -> List[Typed]:
        flat = [g.op("Reshape", value, g.constant([-1])) for value in rows]
        rows_ = [Typed(value, dtype, 1) for value, dtype in zip(flat, (np.int64, np.int64, np.float32))]
        return [*kept.typed(), Typed(finished, np.bool_, 1), *rows_, Typed(go_on, np.bool_, 0)]
