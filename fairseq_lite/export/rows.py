"""What the search in the graph asks of a decoder, and the states that it carries from one step to the next."""

from __future__ import annotations

from typing import Callable, List, NamedTuple, Optional, Protocol, Sequence, Tuple

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
            sentences: the encoder's outputs; empty for a language model
            rows: number N of rows, int64: []
        """

    def step(
        self, body: Graph, tokens: Value, step: Value, states: List[Value], home: Graph, alone: bool = False
    ) -> Tuple[Value, List[Value]]:
        """Write one step.

        Args:
            tokens: last word of each row, int64: [N]
            step: number of words before it, int64: []
            states: all states in the order of `begin`
            home: the graph for the weights (`body.home`)
            alone: whether each sentence has one row, as in greedy search

        Returns:
            logits without normalisation, float: [N, V], and the row states after the step in the order of `begin`
        """


class Typed(NamedTuple):
    """A value with what a loop or branch must declare of it.

    Args:
        first: name of the first axis, for values of a loop that have the same number there
    """

    value: Value
    dtype: type
    rank: int
    first: Optional[str] = None

    @property
    def shape(self) -> List[Optional[str]]:
        """Its axes."""
        return [self.first, *[None] * (self.rank - 1)] if self.rank else []


Group = List[Value]


def typed(state: State) -> Typed:
    """A state as a loop carries it."""
    return Typed(state.value, state.dtype, len(state.shape))


def per_row(values: Sequence[Typed]) -> List[Typed]:
    """The values with their first axis named, where they have one."""
    return [value._replace(first="rows") for value in values]


def as_many_rows(g: Graph, x: Value, tokens: Value) -> Value:
    """x: [N, C] as it is, but known to have as many rows as tokens: int64 [N].

    onnxruntime writes in place only where it knows sizes to be equal, and reshapes hide that from it. The products with
    a vocabulary are large enough for that to cost time.
    """
    ones = g.op("Pow", tokens, g.constant(0))
    return g.op("Gather", x, g.op("CumSum", ones, g.constant(0), exclusive=1))


def loop_in_groups(
    g: Graph,
    body: Graph,
    go_on: Value,
    groups: Sequence[Sequence[Typed]],
    write: Callable[[Graph, List[Group]], Tuple[Value, Sequence[Group]]],
) -> List[Group]:
    """Add a loop over several groups of states; `write` takes and returns them group by group."""
    states = [(state.value, state.dtype, state.shape) for group in groups for state in group]
    sizes = [len(group) for group in groups]

    def turn(body: Graph, _: Value, values: List[Value]):
        condition, after = write(body, _split(values, sizes))
        return condition, [value for group in after for value in group]

    return _split(g.loop(body, go_on, states, turn), sizes)


def choose(
    g: Graph,
    condition: Value,
    then: Callable[[Graph], Sequence[Typed]],
    otherwise: Callable[[Graph], Sequence[Typed]],
) -> List[Value]:
    """Add an If between two functions that write the same values."""
    branches = []
    for name, write in (("then", then), ("otherwise", otherwise)):
        body = g.body(name)
        for state in write(body):
            body.result(state.value, state.dtype, state.shape)
        branches.append(body)
    values = g.branch(condition, *branches)
    return [values] if isinstance(values, Value) else list(values)


def _split(values: Sequence[Value], sizes: Sequence[int]) -> List[Group]:
    rest = iter(values)
    return [[next(rest) for _ in range(size)] for size in sizes]
