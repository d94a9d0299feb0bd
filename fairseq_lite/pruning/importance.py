"""How much the loss would miss each neuron or weight."""

from __future__ import annotations

from typing import Dict, List, Optional

import torch
from fairseq.distributed import utils as distributed
from torch import Tensor

from fairseq_lite.pruning.units import Units


def _several_workers() -> bool:
    return distributed.get_data_parallel_world_size() > 1


class Importance:
    """Scores of all units, a vector [count] for each group; a subclass with `needs_gradients` collects them."""

    needs_gradients = False

    def __init__(self, groups: List[Units]):
        self.groups = groups

    def scores(self) -> Optional[List[Tensor]]:
        """One vector [count] a group; None if nothing was collected yet."""
        raise NotImplementedError

    def see_loss(self, gradient: Tensor) -> None:
        """Take the gradient of the loss itself, a scalar: the loss scale of half precision."""

    def add(self, number: int, parameter: Tensor, gradient: Tensor) -> None:
        """Add a mini-batch's gradient of a parameter of group `number`, both of the parameter's shape."""

    def restart(self) -> None:
        """Forget what was collected."""

    def state_dict(self) -> Dict[str, Tensor]:
        """What was collected, by group."""
        return {}

    def load_state_dict(self, state: Dict[str, Tensor]) -> None:
        """Go on from what was collected."""


class Magnitude(Importance):
    """The L2 norm of a neuron's weights, the absolute value of a weight."""

    def scores(self) -> List[Tensor]:
        return [
            sum(group.reduce(parameter.detach().float() ** 2) for parameter in group.parameters).sqrt()
            for group in self.groups
        ]


class Random(Importance):
    """No importance at all: what the others have to beat. The same on every worker and in every step."""

    def scores(self) -> List[Tensor]:
        generator = torch.Generator().manual_seed(1)
        return [torch.rand(group.count, generator=generator).to(group.parameters[0].device) for group in self.groups]


class Taylor(Importance):
    """Activation times gradient, summed over positions and mini-batches: the change of the loss to first order.

    Of neuron j, y = w_j x + b_j, the sum over positions of y dL/dy is w_j . dL/dw_j + b_j dL/db_j. So the gradients
    of the parameters tell all, at the cost of one product each; and what has no gradient, as padding, does not count.
    (Molchanov et al., 2019, arXiv 1906.10771, section 3.)
    """

    needs_gradients = True

    def __init__(self, groups: List[Units]):
        super().__init__(groups)
        self.sums = [torch.zeros(group.count, device=group.parameters[0].device) for group in groups]
        self.loss_scale = torch.ones(())

    def see_loss(self, gradient: Tensor) -> None:
        """Take the gradient of the loss itself, a scalar: the loss scale, or 0 for an ignored batch."""
        self.loss_scale = gradient.detach().float()

    def add(self, number: int, parameter: Tensor, gradient: Tensor) -> None:
        """Add a mini-batch's gradient of a parameter of group `number`; one that overflowed does not count."""
        products = self.groups[number].reduce(parameter.detach().float() * gradient.float())
        self.sums[number] += torch.nan_to_num(products / self.loss_scale, nan=0.0, posinf=0.0, neginf=0.0)

    def scores(self) -> Optional[List[Tensor]]:
        """The sums over all workers since the last call of `restart`."""
        flat = torch.cat(self.sums)
        if _several_workers():
            distributed.all_reduce(flat, group=distributed.get_data_parallel_group())
        if not flat.any():
            return None
        return list(flat.abs().split([group.count for group in self.groups]))

    def restart(self) -> None:
        for total in self.sums:
            total.zero_()

    def state_dict(self) -> Dict[str, Tensor]:
        return {group.name: total.cpu() for group, total in zip(self.groups, self.sums)}

    def load_state_dict(self, state: Dict[str, Tensor]) -> None:
        # the first worker's sums are those that were saved
        if not _several_workers() or distributed.get_data_parallel_rank() == 0:
            for group, total in zip(self.groups, self.sums):
                total.copy_(state[group.name])


IMPORTANCES = {"taylor": Taylor, "magnitude": Magnitude, "random": Random}
