"""Models of some layers of a larger one: --encoder-layers-to-keep and --decoder-layers-to-keep (arXiv 1909.11556)."""

from __future__ import annotations

import contextlib
import re
from typing import Any, Dict, Iterable, List, Sequence, Set

from omegaconf import OmegaConf, open_dict
from torch import Tensor

from fairseq_lite.errors import UserError
from fairseq_lite.models.sublayers import listed, renumbered

# Options with an item for each layer of a side; fairseq's lightconv has a list where the others have text.
_OF_EACH_LAYER = ("kernel_sizes", "kernel_size_list")
# Options whose items name layers by number.
_NAMING_LAYERS = ("softmax_layers", "softmax_sublayers")
# A name in a state dict that belongs to a layer. roberta keeps its encoder one level deeper, a model of several
# language pairs keeps one of each pair.
_LAYER = re.compile(r"(?:models\.[^.]+\.)?(?P<side>encoder|decoder)\.(?:sentence_encoder\.)?layers\.(?P<number>\d+)\.")


def layer_numbers(names: Iterable[str], side: str) -> Set[int]:
    """The numbers of the layers of a side ("encoder" or "decoder") that names in a state dict belong to."""
    return {int(match["number"]) for match in map(_LAYER.match, names) if match and match["side"] == side}


def only_layers(named: Dict[str, Any], side: str, numbers: Sequence[int]) -> Dict[str, Any]:
    """What belongs to the layers `numbers` of a side, numbered from 0 instead, and all that belongs to none of it."""
    chosen = {}
    for name, value in named.items():
        match = _LAYER.match(name)
        if match is None or match["side"] != side:
            chosen[name] = value
        elif int(match["number"]) in numbers:
            begin, end = match.span("number")
            chosen[f"{name[:begin]}{numbers.index(int(match['number']))}{name[end:]}"] = value
    return chosen


def _kept(args, side: str) -> List[int]:
    """The numbers that one side keeps; raises UserError for what are no numbers of its layers."""
    given, layers = getattr(args, f"{side}_layers_to_keep"), getattr(args, f"{side}_layers")
    numbers = listed(given)
    if not all(number.isdecimal() and int(number) < layers for number in numbers):
        raise UserError(f"--{side}-layers-to-keep {given}: the {side} has layers 0 to {layers - 1}")
    return sorted({int(number) for number in numbers})


def settle_side(args, side: str, kept: List[int]) -> None:
    """Let the options of a side describe the layers `kept` of those that they described, in place."""
    layers = getattr(args, f"{side}_layers")
    for name in (f"{side}_{option}" for option in _OF_EACH_LAYER):
        given = getattr(args, name, None)
        if given and len(listed(given)) == layers:
            sizes = [listed(given)[number] for number in kept]
            setattr(args, name, ",".join(sizes) if isinstance(given, str) else [int(size) for size in sizes])
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
            settle_side(args, side, kept[side])
    return kept


def kept_weights(state: Dict[str, Tensor], kept: Dict[str, List[int]]) -> Dict[str, Tensor]:
    """The weights of the layers that are kept, renumbered; of a side that holds no others, the weights as they are."""
    for side, numbers in kept.items():
        if len(layer_numbers(state, side)) > len(numbers):
            state = only_layers(state, side, numbers)
    return state


class KeptLayersMixin:
    """A model of fairseq's that takes the weights of the layers in `kept` from a larger one."""

    kept: Dict[str, List[int]] = {}

    def load_state_dict(self, state_dict, strict=True, model_cfg=None, args=None):
        # Without the options, by which fairseq would prune the weights of a model that has been pruned already.
        return super().load_state_dict(kept_weights(state_dict, self.kept), strict)
