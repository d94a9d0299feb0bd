"""Which attention can be linear within a loss of perplexity, chosen greedily (after DtR, arXiv 2601.11667)."""

from __future__ import annotations

import copy
import logging
from contextlib import contextmanager, nullcontext
from typing import Callable, Dict, FrozenSet, List, NamedTuple, Optional, Sequence

from fairseq.models import BaseFairseqModel
from omegaconf import OmegaConf, open_dict

from fairseq_lite.checkpoints import Checkpoint, build_model_of
from fairseq_lite.measure.decoding import StepCost, step_costs
from fairseq_lite.models.sublayers import Sublayer, listed


class Round(NamedTuple):
    """The sublayer that a round makes linear, all that are linear after it, and the perplexity of that model."""

    made_linear: Optional[Sublayer]
    linear: FrozenSet[Sublayer]
    perplexity: float


def choose(
    candidates: Sequence[Sublayer],
    perplexity: Callable[[FrozenSet[Sublayer]], float],
    most_loss: float,
    report: Callable[[Round], None] = lambda found: None,
) -> List[Round]:
    """Rounds from no linear sublayer on, each with the sublayer more that leaves `perplexity` least.

    Ends when all are linear, or with the first round whose perplexity is more than 1 + `most_loss` times the first.
    Costs 1 + n (n + 1) / 2 perplexities of n candidates at most.
    """
    rounds = [Round(None, frozenset(), perplexity(frozenset()))]
    report(rounds[0])
    while len(rounds[-1].linear) < len(candidates) and within(rounds[-1], rounds, most_loss):
        rest = [sublayer for sublayer in candidates if sublayer not in rounds[-1].linear]
        tried = [(rounds[-1].linear | {sublayer}, sublayer) for sublayer in rest]
        found = [Round(sublayer, linear, perplexity(linear)) for linear, sublayer in tried]
        rounds.append(min(found, key=lambda one: one.perplexity))
        report(rounds[-1])
    return rounds


def rise(found: Round, rounds: Sequence[Round]) -> float:
    """How much more the perplexity of a round is than that of the first, relative to it."""
    return found.perplexity / rounds[0].perplexity - 1


def within(found: Round, rounds: Sequence[Round], most_loss: float) -> bool:
    return rise(found, rounds) <= most_loss


def kept_softmax(candidates: Sequence[Sublayer], rounds: Sequence[Round], most_loss: float) -> List[Sublayer]:
    """The candidates that keep softmax attention in the last round within the loss."""
    last = [found for found in rounds if within(found, rounds, most_loss)][-1]
    return [sublayer for sublayer in candidates if sublayer not in last.linear]


def as_option(softmax: Sequence[Sublayer], candidates: Sequence[Sublayer], given: Optional[str]) -> str:
    """The value of --softmax-sublayers: what the checkpoint has `given` and these; "" for none.

    A position of which every candidate is in it stands for all of them.
    """
    items = listed(given)
    for position in dict.fromkeys(sublayer.position for sublayer in candidates):
        of_position = [sublayer for sublayer in candidates if sublayer.position == position]
        kept = [str(sublayer) for sublayer in of_position if sublayer in softmax]
        items += [position] if len(kept) == len(of_position) else kept
    return ",".join(dict.fromkeys(items))


@contextmanager
def _without_warnings():
    """Within, a model is built of softmax attention on purpose."""
    disabled = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(disabled)


def _with_softmax(checkpoint: Checkpoint, path: str, more: Sequence[Sublayer]) -> BaseFairseqModel:
    """A model of the checkpoint's options, with new weights, in which more sublayers have softmax attention."""
    options = copy.deepcopy(checkpoint["cfg"]["model"])
    items = [*listed(getattr(options, "softmax_sublayers", None)), *map(str, more)]
    with open_dict(options) if OmegaConf.is_config(options) else nullcontext():
        options.softmax_sublayers = ",".join(items) or None
    with _without_warnings():
        return build_model_of({**checkpoint, "cfg": {"model": options}}, path)


def costs_of(
    rounds: Sequence[Round], names: Dict[Sublayer, str], checkpoint: Checkpoint, path: str, positions: int
) -> List[StepCost]:
    """The cost of a decoding step after each round; `names` are those of the candidates in the model."""
    linear, softmax = _with_softmax(checkpoint, path, []), _with_softmax(checkpoint, path, list(names))
    chosen = [frozenset(names[sublayer] for sublayer in found.linear) for found in rounds]
    return step_costs(linear, softmax, chosen, positions)
