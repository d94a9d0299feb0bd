"""Which attention of a model is linear: --linear-attention, less --softmax-layers and --softmax-sublayers."""

from __future__ import annotations

import copy
import re
from typing import Iterable, List, NamedTuple, Optional, Sequence, Tuple

from fairseq_lite.errors import UserError

DECODER_POSITIONS = ("causal", "cross")
POSITIONS = (*DECODER_POSITIONS, "encoder")
# Where fairseq's layers hold their attention.
_AT = {
    ("decoder", "self_attn"): "causal",
    ("decoder", "encoder_attn"): "cross",
    ("encoder", "self_attn"): "encoder",
}
_PATH = re.compile(r"(encoder|decoder)\.layers\.(\d+)\.(self_attn|encoder_attn)\b")
_ITEM = re.compile(r"(?P<position>[a-z]+)|(?:(?P<of>[a-z]+)\.)?(?P<number>[0-9]+)")


class Sublayer(NamedTuple):
    """The attention of one layer: to the past ("causal"), to the source ("cross") or an encoder's ("encoder")."""

    position: str
    layer: int

    def __str__(self) -> str:
        return f"{self.position}.{self.layer}"


def side_of(position: str) -> str:
    """The side of a model, "encoder" or "decoder", whose layers have attention at a position."""
    return "encoder" if position == "encoder" else "decoder"


def listed(option) -> List[str]:
    """The items of a list as a command line or hydra writes it: "0,1", [0, 1], 0; none of None or an empty text."""
    return [] if option in (None, "") else re.sub(r"[\[\]()' ]", "", str(option)).split(",")


def kept_layers(side) -> List[int]:
    """The numbers, in the whole model, of the layers that are built: all, or those of --...-layers-to-keep."""
    if side.layers_to_keep:
        return sorted(map(int, side.layers_to_keep.split(",")))
    return list(range(side.layers))


def item_of(text: str) -> Optional[Tuple[Tuple[str, ...], Optional[int]]]:
    """The positions that an item of --softmax-sublayers names and the layer, None for every one; None for no item.

    `causal` is that position in every layer, `causal.1` that of layer 1, `1` both of decoder layer 1.
    """
    match = _ITEM.fullmatch(text)
    position = match and (match["position"] or match["of"])
    if match is None or position not in (None, *POSITIONS):
        return None
    return (position,) if position else DECODER_POSITIONS, None if match["position"] else int(match["number"])


def _is_named(sublayer: Sublayer, items: Iterable[str]) -> bool:
    named = (item for item in map(item_of, items) if item is not None)
    return any(sublayer.position in positions and layer in (None, sublayer.layer) for positions, layer in named)


def linear_positions(cfg, positions: Sequence[str], layer: int) -> List[str]:
    """Those of the positions at which the attention of a layer is linear."""
    if cfg.feature_map is None:
        return []
    softmax = [*listed(cfg.softmax_layers), *listed(getattr(cfg, "softmax_sublayers", None))]
    return [
        position
        for position in positions
        if position in listed(cfg.linear_attention) and not _is_named(Sublayer(position, layer), softmax)
    ]


def layer_configs(cfg, side: str) -> list:
    """The options of each layer of a side that is built, in which `linear_attention` is what is linear in that layer.

    A layer that keeps softmax attention has no `feature_map`.
    """
    positions = [position for position in POSITIONS if side_of(position) == side]
    configs = []
    for number in kept_layers(getattr(cfg, side)):
        linear = linear_positions(cfg, positions, number)
        layer_cfg = copy.copy(cfg)
        layer_cfg.linear_attention = ",".join(linear) or None
        layer_cfg.feature_map = cfg.feature_map if linear else None
        configs.append(layer_cfg)
    return configs


def is_linear(layer_cfg, position: str) -> bool:
    """Whether the options of one layer make its attention at a position linear."""
    return layer_cfg.feature_map is not None and position in listed(layer_cfg.linear_attention)


def check_softmax_sublayers(cfg, positions: Sequence[str]) -> None:
    """Raise UserError for items of --softmax-sublayers that name no attention of a model with these positions."""
    option = getattr(cfg, "softmax_sublayers", None)
    if option is None:
        return
    flag = f"--softmax-sublayers {option}:"
    for text in listed(option) or [""]:
        item = item_of(text)
        if not text:
            raise UserError(f"{flag} an item is empty; separate items by one comma, or leave the option out")
        if item is None or not set(item[0]) & set(positions):
            raise UserError(
                f"{flag} {text!r} is no attention that can be linear here; take {' or '.join(positions)}, one layer of"
                f" it as {positions[0]}.0, or a decoder layer by its number"
            )
        side = side_of(item[0][0])
        layers = max(kept_layers(getattr(cfg, side)), default=-1) + 1
        if item[1] is not None and item[1] >= layers:
            raise UserError(f"{flag} the {side} has no layer {item[1]}; its {layers} layers count from 0")


def renumbered(text: str, side: str, kept: Sequence[int], layers: int) -> Optional[str]:
    """An item for a model of the layers `kept`, of `layers`, on one side; None if its layer is not kept.

    What names no layer of that side stays as it is, also to be refused when it is checked.
    """
    item = item_of(text)
    if item is None or item[1] is None or item[1] >= layers or side_of(item[0][0]) != side:
        return text
    if item[1] not in kept:
        return None
    return text[: text.rfind(".") + 1] + str(kept.index(item[1]))


def sublayer_of(name: str) -> Sublayer:
    """The sublayer of a module in a model by its name, such as decoder.layers.0.self_attn.attention."""
    side, number, attribute = _PATH.search(name).groups()
    return Sublayer(_AT[side, attribute], int(number))
