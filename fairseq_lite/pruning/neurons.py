"""What can be pruned in a model: neurons of its linear layers, or their single weights."""

from __future__ import annotations

import re
from typing import Dict, List, NamedTuple, Tuple

import torch
import torch.nn as nn
from torch import Tensor

from fairseq_lite.modules.conv_branch import ConvBranch

_ATTENTION = r"(?:self_attn|encoder_attn)(?:\.attention)?"
_LAYER = r"layers\.\d+"
_CONVOLUTION = _LAYER + r"\.self_attn\.conv"

# The components of a layer, and how the names of their linear layers end.
COMPONENTS: Dict[str, str] = {
    "q": _ATTENTION + r"\.q_proj",
    "k": _ATTENTION + r"\.k_proj",
    "v": _ATTENTION + r"\.v_proj",
    "ao": _ATTENTION + r"\.out_proj",
    "i": _LAYER + r"\.fc1",
    "o": _LAYER + r"\.fc2",
    "p": r"classification_heads\.\w+\.dense",
    "ci": _CONVOLUTION + r"\.linear1",
    "co": _CONVOLUTION + r"\.linear2",
}

# A neuron of the query does nothing but meet the key's at the same place.
PAIR = ("q", "k")


class Layer(NamedTuple):
    """A linear layer that can be pruned; `gated` if its rows j and j + count make one neuron under a GLU."""

    name: str
    component: str
    linear: nn.Module
    gated: bool


def component_of(name: str) -> str:
    """The component that a module belongs to by its name, "" if it is none that can be pruned."""
    for component, pattern in COMPONENTS.items():
        if re.search(rf"(?:^|\.){pattern}$", name):
            return component
    return ""


def prunable_layers(model: nn.Module) -> List[Layer]:
    """The linear layers of a model that can be pruned, in its order."""
    modules = dict(model.named_modules())
    layers = []
    for name, module in modules.items():
        component = component_of(name)
        if component and getattr(module, "weight", None) is not None:
            parent = modules.get(name.rpartition(".")[0])
            gated = component == "ci" and isinstance(parent, ConvBranch) and parent.glu
            layers.append(Layer(name, component, module, gated))
    return layers


class Neurons:
    """The neurons of one linear layer, or the pairs of two: the unit that is kept or goes is a row or some rows.

    A neuron is one output of a linear layer: a row of its weight and the entry of its bias.
    """

    def __init__(self, layers: List[Layer]):
        self.name = layers[0].name
        self.components: Tuple[str, ...] = tuple(layer.component for layer in layers)
        self.blocks = 2 if layers[0].gated else 1
        self.count: int = layers[0].linear.weight.size(0) // self.blocks
        self.parameters: List[nn.Parameter] = [
            parameter
            for layer in layers
            for parameter in (layer.linear.weight, layer.linear.bias)
            if parameter is not None
        ]

    @property
    def weight(self) -> int:
        """What a unit counts as: a pair is two neurons."""
        return len(self.components)

    def reduce(self, values: Tensor) -> Tensor:
        """Sum what belongs to a unit; values: shaped like one of the parameters; returns [count]."""
        rows = values.flatten(1).sum(dim=1) if values.dim() > 1 else values
        return rows.view(self.blocks, self.count).sum(dim=0)

    def expand(self, units: Tensor, parameter: Tensor) -> Tensor:
        """The inverse: units: [count], as a mask that broadcasts against the parameter."""
        rows = units.repeat(self.blocks)
        return rows.unsqueeze(1) if parameter.dim() == 2 else rows

    def pruned(self) -> Tensor:
        """Which units are exact zeros: [count], bool."""
        return sum(self.reduce(parameter.detach() != 0) for parameter in self.parameters) == 0

    @torch.no_grad()
    def zero(self, units: Tensor) -> None:
        """Set the parameters of units: [count], bool, to zero."""
        for parameter in self.parameters:
            parameter.masked_fill_(self.expand(units, parameter), 0.0)


class Weights(Neurons):
    """The single weights of one linear layer; biases stay."""

    def __init__(self, layer: Layer):
        super().__init__([layer])
        self.parameters = [layer.linear.weight]
        self.count = layer.linear.weight.numel()

    def reduce(self, values: Tensor) -> Tensor:
        return values.flatten()

    def expand(self, units: Tensor, parameter: Tensor) -> Tensor:
        return units.view_as(parameter)


def _neurons(layers: List[Layer]) -> List[Neurons]:
    keys = {layer.name: layer for layer in layers if layer.component == "k"}
    units = []
    for layer in layers:
        if layer.component == "q":
            units.append(Neurons([layer, keys[layer.name[: -len("q_proj")] + "k_proj"]]))
        elif layer.component != "k":
            units.append(Neurons([layer]))
    return units


def _weights(layers: List[Layer]) -> List[Neurons]:
    return [Weights(layer) for layer in layers]


GRANULARITIES = {"neuron": _neurons, "weight": _weights}
