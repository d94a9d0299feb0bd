"""What is pruned: the choice of the least important units, and the masks that hold them at zero."""

from __future__ import annotations

from typing import Dict, List, NamedTuple, Sequence

import torch
from torch import Tensor

from fairseq_lite.pruning.units import Units


class Pool(NamedTuple):
    """Groups, by their numbers, whose units compete with each other, and the part of them that is finally pruned."""

    numbers: List[int]
    target: float


def normalised(scores: Tensor) -> Tensor:
    """A group's scores: [count] divided by their L2 norm, so that groups can be compared."""
    return scores / scores.norm().clamp(min=torch.finfo(scores.dtype).tiny)


class Masks:
    """The pruned units of all groups, one bool vector [count] each; a unit that is pruned stays so."""

    def __init__(self, groups: Sequence[Units]):
        self.groups = groups
        self.pruned = [group.pruned() for group in groups]
        self._find_touched()

    def extend(self, scores: Sequence[Tensor], pools: Sequence[Pool], fraction: float) -> None:
        """Prune the least scores of each pool until `fraction` of its target is reached; pairs count as two."""
        for pool in pools:
            self._extend_pool(pool.numbers, scores, pool.target * fraction)
        self._find_touched()

    def have_reached(self, pools: Sequence[Pool], fraction: float) -> bool:
        """Whether `extend` would find nothing left to prune, but for a pair where there is room for one neuron."""
        return all(self._has_reached(pool.numbers, pool.target * fraction) for pool in pools)

    def _has_reached(self, numbers: Sequence[int], sparsity: float) -> bool:
        pruned = sum(self.groups[n].neurons_per_unit * int(self.pruned[n].sum()) for n in numbers)
        whole = sum(self.groups[n].neurons_per_unit * self.groups[n].count for n in numbers)
        return pruned > round(sparsity * whole) - max(self.groups[n].neurons_per_unit for n in numbers)

    def _extend_pool(self, numbers: Sequence[int], scores: Sequence[Tensor], sparsity: float) -> None:
        # what is pruned comes first, whatever its score
        ranked = [normalised(scores[n]).masked_fill(self.pruned[n], -1.0) for n in numbers]
        weights = [torch.full_like(self.pruned[n], self.groups[n].neurons_per_unit, dtype=torch.long) for n in numbers]
        order = torch.sort(torch.cat(ranked), stable=True).indices
        reached = torch.cat(weights)[order].cumsum(0)
        goes = torch.zeros_like(order, dtype=torch.bool)
        goes[order] = reached <= round(sparsity * int(reached[-1]))
        for n, units in zip(numbers, goes.split([self.groups[n].count for n in numbers])):
            self.pruned[n] = self.pruned[n] | units

    def _find_touched(self) -> None:
        self.touched = [n for n, units in enumerate(self.pruned) if units.any()]
        self.sparsity = self._sparsity()

    def _sparsity(self) -> Dict[str, float]:
        """The pruned part of each component, and of "all"."""
        pruned: Dict[str, int] = {}
        whole: Dict[str, int] = {}
        for group, units in zip(self.groups, self.pruned):
            for component in (*group.components, *["all"] * group.neurons_per_unit):
                pruned[component] = pruned.get(component, 0) + int(units.sum())
                whole[component] = whole.get(component, 0) + group.count
        return {component: pruned[component] / whole[component] for component in whole}

    def apply(self) -> None:
        """Set all that is pruned to zero."""
        for n in self.touched:
            self.groups[n].zero(self.pruned[n])

    def mask_gradient(self, number: int, parameter: Tensor, gradient: Tensor) -> Tensor:
        """A gradient of a parameter of group `number`, zero where it is pruned, so that no update reaches it."""
        if number not in self.touched:
            return gradient
        return gradient.masked_fill(self.groups[number].expand(self.pruned[number], parameter), 0.0)
