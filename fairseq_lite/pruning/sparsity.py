"""Which part of each component of each layer is pruned."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Dict, List, Tuple

import torch.nn as nn
from torch import Tensor

from fairseq_lite.checkpoints import (
    UNNAMED,
    Checkpoint,
    StateDict,
    architecture_of,
    build_model_of,
    model_options,
    require_finite,
)
from fairseq_lite.errors import UserError
from fairseq_lite.models.pruned import unpruned_options
from fairseq_lite.pruning.neurons import COMPONENTS, component_of, prunable_layers
from fairseq_lite.pruning.units import Layer, zero_rows

# Before the components of attention to the source.
CROSS = "x"


@dataclass
class Sparsity:
    """How much is pruned of each layer and component, as `sparsity_of` finds it.

    Args:
        unit: "neurons", or "weights" where no whole neuron is pruned
        pruned, whole: how many units are pruned and how many there were, by (layer, component)

    Examples:
        >>> from fairseq_lite import read_checkpoint, sparsity_of
        >>> found = sparsity_of(read_checkpoint("checkpoint.pt"))
        >>> found.layers
        ['encoder 0', 'encoder 1', 'decoder 0', 'decoder 1']
        >>> found.part(component="i")
        0.5
    """

    unit: str
    pruned: Dict[Tuple[str, str], int]
    whole: Dict[Tuple[str, str], int]

    @property
    def layers(self) -> List[str]:
        """The names of the layers, in the model's order."""
        return list(dict.fromkeys(layer for layer, _ in self.whole))

    @property
    def components(self) -> List[str]:
        """The names of the components that the model has, those of attention to the source last."""
        present = {component for _, component in self.whole}
        ordered = [prefix + component for prefix in ("", CROSS) for component in COMPONENTS]
        return [component for component in ordered if component in present]

    @property
    def note(self) -> str:
        """What the names of components do not say by themselves."""
        return "x: attention to the source" if any(component[0] == CROSS for component in self.components) else ""

    def part(self, layer: str = "", component: str = "") -> float:
        """The pruned part of a component of a layer; of all where one is not named; nan where there is none."""
        cells = [key for key in self.whole if layer in ("", key[0]) and component in ("", key[1])]
        whole = sum(self.whole[key] for key in cells)
        return sum(self.pruned[key] for key in cells) / whole if whole else float("nan")


def _cell(name: str) -> Tuple[str, str]:
    """The row and the column of a linear layer: decoder.layers.0.encoder_attn.q_proj is `xq` of `decoder 0`."""
    cross = CROSS if ".encoder_attn." in name else ""
    place = re.search(r"(\w+)\.(?:\w+\.)?layers\.(\d+)\.", name)
    return f"{place[1]} {place[2]}" if place else "head", cross + component_of(name)


def _zero_neurons(state: StateDict, name: str) -> int:
    """The zero neurons of a linear layer, by its name in the state dict."""
    return int(zero_rows(state[f"{name}.weight"], state.get(f"{name}.bias")).sum())


def _model_before_pruning(checkpoint: Checkpoint, path: str) -> nn.Module:
    """A model of the sizes that a checkpoint's had before it was pruned, masked or shrunk."""
    options = model_options(checkpoint, path)
    before = unpruned_options(options)
    model = build_model_of({**checkpoint, "cfg": {"model": before}}, path)
    is_shrunk = architecture_of(before) != architecture_of(options)
    # roberta's heads come with their weights; of a shrunk one no more is known than that tasks make it of model width
    for head, width in _classification_heads(checkpoint["model"]).items():
        model.register_classification_head(head, num_classes=1, inner_dim=None if is_shrunk else width)
    return model


def _classification_heads(state: Dict[str, Tensor]) -> Dict[str, int]:
    """The widths of a state dict's classification heads, by their names."""
    dense = re.compile(r"classification_heads\.(\w+)\.dense\.weight")
    return {match[1]: state[name].size(0) for name in state if (match := dense.fullmatch(name))}


def _pruned_neurons(state: StateDict, layer: Layer) -> int:
    """Those that are zero, and those that were removed."""
    removed = layer.linear.weight.size(0) - state[f"{layer.name}.weight"].size(0)
    return removed + _zero_neurons(state, layer.name)


def _pruned_weights(state: StateDict, layer: Layer) -> int:
    return int((state[f"{layer.name}.weight"] == 0).sum())


def sparsity_of(checkpoint: Checkpoint, path: str = UNNAMED) -> Sparsity:
    """The sparsity of a checkpoint, masked or shrunk, against the model that it was before.

    Args:
        checkpoint: as `read_checkpoint` gives it
        path: what errors call it

    Raises UserError for an architecture that cannot be measured, and for weights that are missing or not finite.

    Examples:
        >>> from fairseq_lite import read_checkpoint, shrink, sparsity_of
        >>> masked = read_checkpoint("checkpoint.pt")
        >>> sparsity_of(masked).part("encoder 0", "i"), sparsity_of(shrink(masked)).part("encoder 0", "i")
        (0.5, 0.5)
    """
    state = checkpoint["model"]
    require_finite(state, path)
    layers = prunable_layers(_model_before_pruning(checkpoint, path))
    missing = [layer.name for layer in layers if f"{layer.name}.weight" not in state]
    if missing:
        raise UserError(f"{path}: {len(missing)} layers of its options have no weights, {missing[0]} is the first")
    removed = any(layer.linear.weight.shape != state[f"{layer.name}.weight"].shape for layer in layers)
    if removed or any(_zero_neurons(state, layer.name) for layer in layers):
        result, count = Sparsity("neurons", {}, {}), _pruned_neurons
    else:
        result, count = Sparsity("weights", {}, {}), _pruned_weights
    for layer in layers:
        cell = _cell(layer.name)
        whole = layer.linear.weight.size(0) if result.unit == "neurons" else layer.linear.weight.numel()
        result.whole[cell] = result.whole.get(cell, 0) + whole
        result.pruned[cell] = result.pruned.get(cell, 0) + count(state, layer)
    return result
