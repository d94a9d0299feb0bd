"""Models of some layers of a larger one: --encoder-layers-to-keep and --decoder-layers-to-keep (arXiv 1909.11556)."""

from __future__ import annotations

import contextlib
import re
from typing import Dict, List

from omegaconf import OmegaConf, open_dict
from torch import Tensor

from fairseq_lite.errors import UserError
from fairseq_lite.models.sublayers import listed, renumbered

# Options whose items name layers by number.
_NAMING_LAYERS = ("softmax_layers", "softmax_sublayers")


def _kept(args, side: str) -> List[int]:
    """The numbers that one side keeps; raises UserError for what are no numbers of its layers."""
    given, layers = getattr(args, f"{side}_layers_to_keep"), getattr(args, f"{side}_layers")
    numbers = listed(given)
    if not all(number.isdecimal() and int(number) < layers for number in numbers):
        raise UserError(f"--{side}-layers-to-keep {given}: the {side} has layers 0 to {layers - 1}")
    return sorted({int(number) for number in numbers})


def _settle(args, side: str, kept: List[int]) -> None:
    sizes, layers = f"{side}_kernel_sizes", getattr(args, f"{side}_layers")
    if getattr(args, sizes, None) and len(listed(getattr(args, sizes))) == layers:
        setattr(args, sizes, ",".join(listed(getattr(args, sizes))[number] for number in kept))
    for name in _NAMING_LAYERS:
        if getattr(args, name, None):
            items = [renumbered(item, side, kept, layers) for item in listed(getattr(args, name))]
            setattr(args, name, ",".join(item for item in items if item is not None) or None)
    setattr(args, f"{side}_layers", len(kept))
    setattr(args, f"{side}_layers_to_keep", None)


def settle_layers(args) -> Dict[str, List[int]]:
    """Let a model's options describe the layers that it keeps and no others, in place; returns their numbers by side.

    So a checkpoint of it needs no pruning when it is loaded.
    """
    sides = [side for side in ("encoder", "decoder") if getattr(args, f"{side}_layers_to_keep", None)]
    kept = {side: _kept(args, side) for side in sides}
    with open_dict(args) if OmegaConf.is_config(args) else contextlib.nullcontext():
        for side in sides:
            _settle(args, side, kept[side])
    return kept


def kept_weights(state: Dict[str, Tensor], kept: Dict[str, List[int]]) -> Dict[str, Tensor]:
    """The weights of the layers that are kept, renumbered; of a side that holds no others, the weights as they are."""
    for side, numbers in kept.items():
        layer = re.compile(rf"{side}\.layers\.(\d+)\.")
        found = {int(match[1]) for match in map(layer.match, state) if match}
        if len(found) > len(numbers):
            renumbered = {}
            for name, tensor in state.items():
                match = layer.match(name)
                if match is None:
                    renumbered[name] = tensor
                elif int(match[1]) in numbers:
                    renumbered[f"{side}.layers.{numbers.index(int(match[1]))}.{name[match.end() :]}"] = tensor
            state = renumbered
    return state


class KeptLayersMixin:
    """A model of fairseq's that takes the weights of the layers in `kept` from a larger one."""

    kept: Dict[str, List[int]] = {}

    def load_state_dict(self, state_dict, strict=True, model_cfg=None, args=None):
        # Without the options, by which fairseq would prune the weights of a model that has been pruned already.
        return super().load_state_dict(kept_weights(state_dict, self.kept), strict)
