"""What pruning keeps or removes as one: the neurons of linear layers, or their single weights."""

from __future__ import annotations

from typing import List, NamedTuple, Optional, Tuple

import torch
import torch.nn as nn
from torch import Tensor


class Layer(NamedTuple):
    """A linear layer that can be pruned; `gated` if its rows j and j + count make one neuron under a GLU."""

    name: str
    component: str
    linear: nn.Module
    gated: bool


def zero_rows(weight: Tensor, bias: Optional[Tensor]) -> Tensor:
    """Which neurons are pruned: rows of the weight: [C, C'] that are exact zeros with their bias: [C]; bool, [C].

    The one definition of a zero neuron, for training, `sparsity` and `shrink`. NaN is not zero.
    """
    zero = (weight.detach() == 0).all(dim=1)
    return zero if bias is None else zero & (bias.detach() == 0)


class Units:
    """The units of a group of linear layers, which have their scores together; a unit is pruned or kept as one.

    `count` is the number of units, `parameters` are what they are made of.
    """

    count: int
    parameters: List[nn.Parameter]

    def __init__(self, layers: List[Layer]):
        self.name = layers[0].name
        self.components: Tuple[str, ...] = tuple(layer.component for layer in layers)

    @property
    def neurons_per_unit(self) -> int:
        """What a unit counts as: a pair is two neurons."""
        return len(self.components)

    def reduce(self, values: Tensor) -> Tensor:
        """Sum what belongs to a unit; values: shaped like one of the parameters; returns [count]."""
        raise NotImplementedError

    def expand(self, units: Tensor, parameter: Tensor) -> Tensor:
        """The inverse: units: [count], as a mask that broadcasts against the parameter."""
        raise NotImplementedError

    def pruned(self) -> Tensor:
        """Which units are exact zeros: [count], bool."""
        raise NotImplementedError

    @torch.no_grad()
    def zero(self, units: Tensor) -> None:
        """Set the parameters of units: [count], bool, to zero."""
        for parameter in self.parameters:
            parameter.masked_fill_(self.expand(units, parameter), 0.0)


class Neurons(Units):
    """The neurons of one linear layer, or the pairs of two.

    A neuron is one output of a linear layer: a row of its weight and the entry of its bias. Under a GLU it is two rows.
    """

    def __init__(self, layers: List[Layer]):
        super().__init__(layers)
        self.linears = [layer.linear for layer in layers]
        self.blocks = 2 if layers[0].gated else 1
        self.count = self.linears[0].weight.size(0) // self.blocks
        both = [parameter for linear in self.linears for parameter in (linear.weight, linear.bias)]
        self.parameters = [parameter for parameter in both if parameter is not None]

    def reduce(self, values: Tensor) -> Tensor:
        """values: [blocks * count, C'] or [blocks * count]; returns [count]."""
        rows = values.flatten(1).sum(dim=1) if values.dim() > 1 else values
        return rows.view(self.blocks, self.count).sum(dim=0)

    def expand(self, units: Tensor, parameter: Tensor) -> Tensor:
        """units: [count]; returns [blocks * count, 1] for a weight, [blocks * count] for a bias."""
        rows = units.repeat(self.blocks)
        return rows.unsqueeze(1) if parameter.dim() == 2 else rows

    def pruned(self) -> Tensor:
        rows = torch.stack([zero_rows(linear.weight, linear.bias) for linear in self.linears])
        return rows.view(len(self.linears) * self.blocks, self.count).all(dim=0)


class Weights(Units):
    """The single weights of one linear layer; biases stay."""

    def __init__(self, layer: Layer):
        super().__init__([layer])
        self.parameters = [layer.linear.weight]
        self.count = layer.linear.weight.numel()

    def reduce(self, values: Tensor) -> Tensor:
        """values: [C, C']; returns [C * C']."""
        return values.flatten()

    def expand(self, units: Tensor, parameter: Tensor) -> Tensor:
        """units: [C * C']; returns [C, C']."""
        return units.view_as(parameter)

    def pruned(self) -> Tensor:
        return self.parameters[0].detach().flatten() == 0
