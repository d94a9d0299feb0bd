"""What to prune and when, as options and as the plan that they make for a model."""

from dataclasses import dataclass, field
from typing import Dict, List, Optional, Sequence

from fairseq.dataclass import ChoiceEnum, FairseqDataclass

from fairseq_lite.errors import UserError
from fairseq_lite.pruning.importance import IMPORTANCES
from fairseq_lite.pruning.masks import Pool
from fairseq_lite.pruning.neurons import COMPONENTS, GRANULARITIES, PAIR, Layer, Neurons
from fairseq_lite.pruning.schedule import Schedule

ImportanceChoice = ChoiceEnum(list(IMPORTANCES))
GranularityChoice = ChoiceEnum(list(GRANULARITIES))
ScopeChoice = ChoiceEnum(["global", "component"])


@dataclass
class PruningOptions(FairseqDataclass):
    """What pruning adds to a criterion."""

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
    pruning_importance: ImportanceChoice = field(
        default="taylor", metadata={"help": "what tells the neurons to prune: taylor is activation x gradient"}
    )
    pruning_granularity: GranularityChoice = field(
        default="neuron", metadata={"help": "prune whole neurons or single weights"}
    )
    pruning_start: int = field(default=0, metadata={"help": "update after which pruning begins (default: 0)"})
    pruning_end: Optional[int] = field(default=None, metadata={"help": "update in which the target is reached"})
    pruning_steps: int = field(default=20, metadata={"help": "equal steps in which the target is reached"})
    pruning_scope: ScopeChoice = field(
        default="global", metadata={"help": "reach the target over all components together, or within each"}
    )


def _targets(option: Optional[str]) -> Dict[str, float]:
    targets = {}
    for item in option.split(",") if option else []:
        component, _, value = item.partition("=")
        try:
            targets[component.strip()] = float(value)
        except ValueError:
            raise UserError(f"--pruning-targets {option}: write it as q=0.9,k=0.9,v=0.45") from None
    return targets


def _check_components(flag: str, option: Optional[str], components: Sequence[str]) -> None:
    unknown = [component for component in components if component not in COMPONENTS]
    if unknown:
        raise UserError(f"{flag} {option}: unknown {', '.join(unknown)}; take some of {', '.join(COMPONENTS)}")
    if len(set(PAIR).intersection(components)) == 1:
        raise UserError(f"{flag} {option}: q and k are pruned as pairs; name both or none of them")


def _components(option: Optional[str]) -> List[str]:
    return [component.strip() for component in option.split(",")] if option else []


def check(options: PruningOptions) -> None:
    """Raise UserError for options that are out of range or do not fit together."""
    targets = _targets(options.pruning_targets)
    _check_components("--pruning-targets", options.pruning_targets, list(targets))
    _check_components("--pruning-components", options.pruning_components, _components(options.pruning_components))
    if options.pruning_target is None and not targets:
        raise UserError("--pruning-target: not given; give the part of the neurons to prune, as in 0.6")
    if not 0 <= (options.pruning_target or 0.0) <= 1:
        raise UserError(f"--pruning-target {options.pruning_target:g}: must lie between 0 and 1")
    if not all(0 <= value <= 1 for value in targets.values()):
        raise UserError(f"--pruning-targets {options.pruning_targets}: each must lie between 0 and 1")
    if targets.get("q") != targets.get("k"):
        raise UserError(f"--pruning-targets {options.pruning_targets}: q and k are pruned as pairs; give both the same")
    if options.pruning_end is None:
        raise UserError("--pruning-end: not given; give the update in which the target is reached")
    if options.pruning_start < 0 or options.pruning_end < options.pruning_start:
        raise UserError(
            f"--pruning-start {options.pruning_start} --pruning-end {options.pruning_end}: "
            "must be updates from 0 on, the end not before the start"
        )
    if options.pruning_steps < 1:
        raise UserError(f"--pruning-steps {options.pruning_steps}: must be at least 1")


def schedule(options: PruningOptions) -> Schedule:
    return Schedule(options.pruning_start, options.pruning_end, options.pruning_steps)


def chosen_layers(options: PruningOptions, layers: List[Layer]) -> List[Neurons]:
    """The units of the layers that the options name; raises UserError if the model has none of a component."""
    present = {layer.component for layer in layers}
    wanted = _components(options.pruning_components) or present
    for flag, components in (
        ("--pruning-components", wanted),
        ("--pruning-targets", _targets(options.pruning_targets)),
    ):
        missing = [component for component in components if component not in present]
        if missing:
            has = ", ".join(component for component in COMPONENTS if component in present) or "none that can be pruned"
            raise UserError(f"{flag}: the model has no {', '.join(missing)}; it has {has}")
    kept = [layer for layer in layers if layer.component in wanted]
    return GRANULARITIES[str(options.pruning_granularity)](kept)


def pools(options: PruningOptions, layers: Sequence[Neurons]) -> List[Pool]:
    """Which layers compete: those of a component with a target of its own or under scope `component`, else all."""
    targets = _targets(options.pruning_targets)
    numbers: Dict[object, List[int]] = {}
    for n, layer in enumerate(layers):
        alone = layer.components[0] in targets or str(options.pruning_scope) == "component"
        numbers.setdefault(layer.components if alone else "all", []).append(n)
    return [
        Pool(members, targets.get(layers[members[0]].components[0], options.pruning_target or 0.0))
        for members in numbers.values()
    ]
