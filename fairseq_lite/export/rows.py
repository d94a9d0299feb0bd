"""What the search in the graph asks of a decoder, and the states that it carries from one step to the next."""

from __future__ import annotations

from typing import List, NamedTuple, Protocol, Sequence, Tuple

from fairseq_lite.export.graph import Graph, Value

ROW = "row"
SENTENCE = "sentence"


class State(NamedTuple):
    """A value that a decoder keeps between its steps.

    Args:
        value: the value before the first step, of B sentences or N = B * beam rows (a sentence's rows lie together)
        shape: its axes, with None or a name for those that vary; the first is always one of these
        per: "row" for what the search reorders with the hypotheses, "sentence" for what never changes and only
            leaves with a finished sentence (keys and values of the source, its padding mask)
    """

    value: Value
    dtype: type
    shape: Sequence
    per: str


class Decoder(Protocol):
    """A decoder written step by step; all rows are at the same step."""

    vocabulary: int

    def begin(self, g: Graph, sentences: List[Value], rows: Value) -> List[State]:
        """States before the first step.

        Args:
            sentences: the encoder's outputs, first axis B; empty for a language model
            rows: number N of rows, int64: []
        """

    def step(
        self, body: Graph, tokens: Value, step: Value, states: List[Value], home: Graph
    ) -> Tuple[Value, List[Value]]:
        """Write one step.

        Args:
            tokens: last word of each row, int64: [N]
            step: number of words before it, int64: []
            states: all states in the order of `begin`
            home: the graph for the weights (`body.home`)

        Returns:
            logits without normalisation, float: [N, V], and the row states after the step in the order of `begin`
        """
