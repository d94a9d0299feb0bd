"""The plan that the options of pruning make for a model: which units compete for which target, and when."""

from typing import Dict, List, Sequence

from fairseq_lite.errors import UserError
from fairseq_lite.pruning.masks import Pool
from fairseq_lite.pruning.neurons import COMPONENTS, GRANULARITIES
from fairseq_lite.pruning.options import PruningOptions, components_of, targets_of
from fairseq_lite.pruning.schedule import Schedule
from fairseq_lite.pruning.units import Layer, Units


def schedule(options: PruningOptions) -> Schedule:
    """When how much is pruned, by the options."""
    # without a target there may be no end
    end = options.pruning_start if options.pruning_end is None else options.pruning_end
    return Schedule(options.pruning_start, end, options.pruning_steps)


def chosen_groups(options: PruningOptions, layers: List[Layer]) -> List[Units]:
    """The units of the layers that the options name; raises UserError if the model has none of a component."""
    present = {layer.component for layer in layers}
    wanted = components_of(options.pruning_components) or present
    for flag, components in (
        ("--pruning-components", wanted),
        ("--pruning-targets", targets_of(options.pruning_targets)),
    ):
        missing = [component for component in components if component not in present]
        if missing:
            has = ", ".join(component for component in COMPONENTS if component in present) or "none that can be pruned"
            raise UserError(f"{flag}: the model has no {', '.join(missing)}; it has {has}")
    kept = [layer for layer in layers if layer.component in wanted]
    return GRANULARITIES[str(options.pruning_granularity)](kept)


def pools(options: PruningOptions, groups: Sequence[Units]) -> List[Pool]:
    """Which groups compete with each other.

    Each alone under scope `layer`; those of a component under scope `component` or with a target of its own; else all.
    """
    targets, scope = targets_of(options.pruning_targets), str(options.pruning_scope)
    numbers: Dict[object, List[int]] = {}
    for n, group in enumerate(groups):
        in_component = scope == "component" or group.components[0] in targets
        pool = n if scope == "layer" else group.components if in_component else "all"
        numbers.setdefault(pool, []).append(n)
    return [
        Pool(members, targets.get(groups[members[0]].components[0], options.pruning_target or 0.0))
        for members in numbers.values()
    ]
