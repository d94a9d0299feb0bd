"""Batches through a graph that has the beam search inside."""

from typing import List, NamedTuple

import numpy

from fairseq_lite_runtime.errors import InputError
from fairseq_lite_runtime.options import SearchOptions


class Hypothesis(NamedTuple):
    """One of the texts that a search found.

    Args:
        text: joined pieces
        score: fairseq's, log-probability by length
        tokens: ids with the end

    Examples:
        >>> from fairseq_lite_runtime import Translator
        >>> ((best, second),) = Translator("translator").hypotheses(["one"], nbest=2)
        >>> best.text, best.score > second.score
        ('eins', True)
    """

    text: str
    score: float
    tokens: List[int]


class Search:
    """A session with its beam search.

    Args:
        session: of model.onnx
        text: the target's Text
        config: of the folder
        batch_size: sentences that are searched together
    """

    def __init__(self, session, text, config, batch_size):
        if batch_size < 1:
            raise InputError(f"batch_size {batch_size}: must be at least 1")
        self.session = session
        self.text = text
        self.pad = config["pad"]
        self.default_beam = config["options"]["beam"]
        self.batch_size = batch_size

    def run(self, rows, nbest, options):
        """The nbest hypotheses of each row, best first.

        Args:
            rows: {name of an input: ids} for each sentence, as "source" and "prefix"
            options: fields of SearchOptions
        """
        inputs = _search_options(options).inputs()
        beam = int(inputs.get("beam", self.default_beam))
        if not 1 <= nbest <= beam:
            raise InputError(f"nbest {nbest}: must be 1 to the beam, {beam}")
        found = [None] * len(rows)
        # of one length as far as may be, so that little is padding
        order = sorted(range(len(rows)), key=lambda i: [len(ids) for ids in rows[i].values()])
        for start in range(0, len(order), self.batch_size):
            batch = order[start : start + self.batch_size]
            for i, hypotheses in zip(batch, self._search([rows[i] for i in batch], nbest, inputs)):
                found[i] = hypotheses
        return found

    def _search(self, rows, nbest, inputs):
        padded = {name: pad_right([row[name] for row in rows], self.pad) for name in rows[0]}
        names = ["tokens", "scores", "lengths"]
        tokens, scores, lengths = (out[:, :nbest].tolist() for out in self.session.run(names, {**padded, **inputs}))
        for i in range(len(rows)):
            best = zip(tokens[i], scores[i], lengths[i])
            # one of no tokens never ended
            yield [self._hypothesis(ids[:length], score) for ids, score, length in best if length]

    def _hypothesis(self, ids, score):
        return Hypothesis(self.text.line(ids), score, ids)


def best_text(hypotheses):
    """The text of the first hypothesis, empty where there is none."""
    return hypotheses[0].text if hypotheses else ""


def _search_options(options):
    try:
        return SearchOptions(**options)
    except TypeError:
        known = SearchOptions.__dataclass_fields__
        unknown = [name for name in options if name not in known]
        raise InputError(f"{unknown[0]}: no such option; there are {', '.join(known)}") from None


def pad_right(rows, pad):
    """Rows of ids as int64: [B, longest]."""
    padded = numpy.full((len(rows), max(map(len, rows), default=0)), pad, numpy.int64)
    for row, ids in zip(padded, rows):
        row[: len(ids)] = ids
    return padded


def check_length(number, ids, most):
    """Raise InputError for a sentence that the model has too few positions for; number: of the line, from 1."""
    if most is not None and len(ids) > most:
        raise InputError(f"line {number}: has {len(ids)} tokens, this model takes {most}")
