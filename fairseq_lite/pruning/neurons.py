"""Which neurons a model has: its linear layers that can be pruned, by component."""

from __future__ import annotations

import re
from typing import Dict, List

import torch.nn as nn

from fairseq_lite.modules.conv_branch import ConvBranch
from fairseq_lite.pruning.units import Layer, Neurons, Units, Weights

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


def _neurons(layers: List[Layer]) -> List[Units]:
    keys = {layer.name: layer for layer in layers if layer.component == "k"}
    groups: List[Units] = []
    for layer in layers:
        if layer.component == "q":
            groups.append(Neurons([layer, keys[layer.name[: -len("q_proj")] + "k_proj"]]))
        elif layer.component != "k":
            groups.append(Neurons([layer]))
    return groups


def _weights(layers: List[Layer]) -> List[Units]:
    return [Weights(layer) for layer in layers]


# How layers are divided into groups of units.
GRANULARITIES = {"neuron": _neurons, "weight": _weights}
