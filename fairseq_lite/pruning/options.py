"""What to prune and when, as options."""

import logging
from dataclasses import dataclass, field
from typing import Dict, List, Optional, Sequence

from fairseq.dataclass import ChoiceEnum, FairseqDataclass
from omegaconf import II

from fairseq_lite.errors import UserError
from fairseq_lite.pruning.importance import IMPORTANCES
from fairseq_lite.pruning.neurons import COMPONENTS, GRANULARITIES, PAIR

logger = logging.getLogger(__name__)

ImportanceChoice = ChoiceEnum(list(IMPORTANCES))
GranularityChoice = ChoiceEnum(list(GRANULARITIES))
SCOPES = ["global", "component", "layer"]
ScopeChoice = ChoiceEnum(SCOPES)


@dataclass
class PruningOptions(FairseqDataclass):
    """What to prune and when; the options of the criterions `..._with_pruning`, which say the same in their help.

    Args:
        pruning_target: part of the neurons to prune, 0 to 1, of the components without a target of their own
        pruning_targets: targets of single components, as "q=0.9,k=0.9,v=0.45"
        pruning_components: components to prune, as "i,o"; all by default
        pruning_importance: "taylor", "magnitude" or "random"
        pruning_granularity: "neuron" or "weight"
        pruning_start, pruning_end: updates after which pruning begins and in which the target is reached
        pruning_steps: equal steps between them
        pruning_scope: "global", "component" or "layer", over which the target is reached
        pruning_max_update: the training's last update, where fairseq knows it

    Examples:
        >>> from fairseq_lite import PruningOptions
        >>> PruningOptions(pruning_target=0.5, pruning_components="i", pruning_end=1000).pruning_steps
        20
    """

    pruning_target: Optional[float] = field(
        default=None, metadata={"help": "part of the neurons to prune, 0 to 1, of the components without an own target"}
    )
    pruning_targets: Optional[str] = field(
        default=None, metadata={"help": "targets of single components, as in q=0.9,k=0.9,v=0.45"}
    )
    pruning_components: Optional[str] = field(
        default=None,
        metadata={"help": f"components to prune, some of {','.join(COMPONENTS)} (default: all that the model has)"},
    )
    pruning_importance: ImportanceChoice = field(  # type: ignore[valid-type]
        default="taylor", metadata={"help": "what tells the neurons to prune: taylor is activation x gradient"}
    )
    pruning_granularity: GranularityChoice = field(  # type: ignore[valid-type]
        default="neuron", metadata={"help": "prune whole neurons or single weights"}
    )
    pruning_start: int = field(default=0, metadata={"help": "update after which pruning begins (default: 0)"})
    pruning_end: Optional[int] = field(default=None, metadata={"help": "update in which the target is reached"})
    pruning_steps: int = field(default=20, metadata={"help": "equal steps in which the target is reached"})
    pruning_scope: ScopeChoice = field(  # type: ignore[valid-type]
        default="global",
        metadata={"help": "reach the target over all layers together, within each component, or in each layer"},
    )
    # Without a help text fairseq makes no flag of it: the value is that of --max-update.
    pruning_max_update: int = II("optimization.max_update")


def targets_of(option: Optional[str]) -> Dict[str, float]:
    """The targets by component of --pruning-targets; raises UserError if it can't be read or names one twice."""
    targets: Dict[str, float] = {}
    for item in [] if option is None else option.split(","):
        name, _, value = item.partition("=")
        component = name.strip()
        if component in targets:
            raise UserError(f"--pruning-targets {option}: gives {component} twice; give each component once")
        try:
            targets[component] = float(value)
        except ValueError:
            raise UserError(f"--pruning-targets {option or repr(option)}: write it as q=0.9,k=0.9,v=0.45") from None
    return targets


def components_of(option: Optional[str]) -> List[str]:
    """The components that --pruning-components names; none for None."""
    return [] if option is None else [component.strip() for component in option.split(",")]


def _check_components(flag: str, option: Optional[str], components: Sequence[str]) -> None:
    unknown = [component for component in components if component not in COMPONENTS]
    if unknown:
        named = ", ".join(component or "''" for component in unknown)
        raise UserError(f"{flag} {option or repr('')}: unknown {named}; take some of {', '.join(COMPONENTS)}")
    if len(set(PAIR).intersection(components)) == 1:
        raise UserError(f"{flag} {option}: q and k are pruned as pairs; name both or none of them")


def prunes_nothing(options: PruningOptions) -> bool:
    """Whether all targets are 0: only what the model has lost already stays zero."""
    return not any([options.pruning_target or 0.0, *targets_of(options.pruning_targets).values()])


def _check_targets(options: PruningOptions) -> None:
    targets, chosen = targets_of(options.pruning_targets), components_of(options.pruning_components)
    given = f"--pruning-targets {options.pruning_targets}"
    if options.pruning_target is None and not targets:
        raise UserError("--pruning-target: not given; give the part of the neurons to prune, as in 0.6")
    if not 0 <= (options.pruning_target or 0.0) <= 1:
        raise UserError(f"--pruning-target {options.pruning_target:g}: must lie between 0 and 1")
    if not all(0 <= value <= 1 for value in targets.values()):
        raise UserError(f"{given}: each must lie between 0 and 1")
    if targets.get("q") != targets.get("k"):
        raise UserError(f"{given}: q and k are pruned as pairs; give both the same")
    left_out = [component for component in targets if chosen and component not in chosen]
    if left_out:
        raise UserError(
            f"{given}: --pruning-components {options.pruning_components} leaves out {', '.join(left_out)}; "
            "name each component with a target there too"
        )


def _check_schedule(options: PruningOptions) -> None:
    if options.pruning_end is None and prunes_nothing(options):
        return
    if options.pruning_end is None:
        raise UserError("--pruning-end: not given; give the update in which the target is reached")
    if options.pruning_start < 0 or options.pruning_end < options.pruning_start:
        raise UserError(
            f"--pruning-start {options.pruning_start} --pruning-end {options.pruning_end}: "
            "must be updates from 0 on, the end not before the start"
        )
    if options.pruning_steps < 1:
        raise UserError(f"--pruning-steps {options.pruning_steps}: must be at least 1")


def _check_choices(options: PruningOptions) -> None:
    """Those of a command line are checked before; a program may give any text."""
    choices = {"importance": list(IMPORTANCES), "granularity": list(GRANULARITIES), "scope": SCOPES}
    for name, known in choices.items():
        given = str(getattr(options, f"pruning_{name}"))
        if given not in known:
            raise UserError(f"--pruning-{name} {given}: unknown; take one of {', '.join(known)}")


def check(options: PruningOptions) -> None:
    """Raise UserError for options that are out of range or do not fit together; warn of an end that is not reached."""
    _check_components("--pruning-targets", options.pruning_targets, list(targets_of(options.pruning_targets)))
    _check_components("--pruning-components", options.pruning_components, components_of(options.pruning_components))
    _check_choices(options)
    _check_targets(options)
    _check_schedule(options)
    last = options.pruning_max_update
    # a training in parts ends before, and means it
    if isinstance(last, int) and 0 < last < (options.pruning_end or 0):
        logger.warning(
            f"--pruning-end {options.pruning_end}: lies beyond --max-update {last}; "
            "the target is not reached unless the training is resumed"
        )
