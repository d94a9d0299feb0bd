"""fairseq's encoder and decoder layers whose attention can be linear, and the options that say where it is."""

import logging
from dataclasses import fields
from typing import Sequence

import torch.nn as nn
from fairseq.modules.transformer_layer import TransformerDecoderLayerBase, TransformerEncoderLayerBase

from fairseq_lite.errors import UserError
from fairseq_lite.models.fast_path import drop_fast_path_copies, leave_fast_path
from fairseq_lite.models.options import CausalAttentionOptions
from fairseq_lite.models.sublayers import (
    POSITIONS,
    check_softmax_sublayers,
    is_linear,
    kept_layers,
    layer_configs,
    listed,
)
from fairseq_lite.modules import FEATURE_MAPS, LinearAttention, WindowedLinearAttention
from fairseq_lite.modules.feature_maps import PAIRED

logger = logging.getLogger(__name__)


def warn_of_idle_options(cfg) -> None:
    """Log the options of linear attention that have no effect on a model without a feature map.

    They may stand in the options of a checkpoint, so they are not refused.
    """
    idle = [f"--{f.name.replace('_', '-')}" for f in fields(CausalAttentionOptions) if _is_idle(cfg, f)]
    if idle:
        logger.warning(f"{', '.join(idle)}: without effect, for attention is softmax; give a feature map too")


def _is_idle(cfg, option) -> bool:
    return option.name != "_name" and getattr(cfg, option.name, option.default) != option.default


def check_linear_attention(cfg, positions: Sequence[str] = POSITIONS) -> None:
    """Raise UserError for options of linear attention that are unknown or do not fit the model.

    `positions`: where the model's attention can be linear.
    """
    if cfg.feature_map is None:
        warn_of_idle_options(cfg)
        return
    if str(cfg.feature_map) not in FEATURE_MAPS:
        raise UserError(f"--feature-map {cfg.feature_map}: unknown; take one of {', '.join(FEATURE_MAPS)}")
    unknown = [position for position in listed(cfg.linear_attention) if position not in positions]
    if unknown or not listed(cfg.linear_attention):
        raise UserError(f"--linear-attention {cfg.linear_attention}: take some of {', '.join(positions)}")
    for option in ("causal_feature_dim", "cross_feature_dim"):
        size = getattr(cfg, option, 2)
        if size < 1 or size % 2 and str(cfg.feature_map) in PAIRED:
            wanted = f"an even number, for {cfg.feature_map} makes features in pairs" if size > 0 else "at least 1"
            raise UserError(f"--{option.replace('_', '-')} {size}: must be {wanted}")
    check_window(cfg)
    layers = max(kept_layers(cfg.decoder), default=-1) + 1
    wrong = [number for number in listed(cfg.softmax_layers) if not (number.isdecimal() and int(number) < layers)]
    if wrong:
        raise UserError(
            f"--softmax-layers {cfg.softmax_layers}: the decoder has no layer {', '.join(wrong)}; "
            f"its {layers} layers count from 0"
        )
    check_softmax_sublayers(cfg, positions)
    if cfg.cross_self_attention:
        raise UserError("--cross-self-attention: not possible with linear attention; leave it out")
    sides = ("encoder", "decoder") if "encoder" in positions else ("decoder",)
    if all(layer_cfg.feature_map is None for side in sides for layer_cfg in layer_configs(cfg, side)):
        logger.warning("every attention keeps softmax; take sublayers out of --softmax-sublayers or --softmax-layers")


def check_window(cfg) -> None:
    """Raise UserError for a window of attention to the past that does not fit the other options."""
    if cfg.causal_window is None:
        return
    option = f"--causal-window {cfg.causal_window}"
    if cfg.causal_window > cfg.max_target_positions:
        raise UserError(f"{option}: is more than the decoder's {cfg.max_target_positions} positions")
    if str(cfg.feature_map) != "exp":
        raise UserError(f"{option}: needs the feature map exp, on softmax's scale; {cfg.feature_map} is on another")
    if cfg.causal_gate:
        raise UserError(f"{option}: not possible with --causal-gate; leave one of them out")


def check_alignments(cfg, task) -> None:
    """Raise UserError where a task loads alignments and the last decoder layer has no attention weights to learn."""
    linear = any(is_linear(layer_cfg, "cross") for layer_cfg in layer_configs(cfg, "decoder")[-1:])
    if linear and getattr(getattr(task, "cfg", None), "load_alignments", False):
        raise UserError(
            f"--load-alignments: linear attention to the source (--linear-attention {cfg.linear_attention}) has no"
            f" weights to align; give --linear-attention causal, or --softmax-sublayers cross.{cfg.decoder.layers - 1}"
        )


def all_causal_attention_is_linear(cfg) -> bool:
    return all(is_linear(layer_cfg, "causal") for layer_cfg in layer_configs(cfg, "decoder"))


def swap(attention: nn.Module, cfg, position: str) -> nn.Module:
    """Linear attention in the place of `attention` if the options ask for it at this position."""
    if not is_linear(cfg, position):
        return attention
    causal = position == "causal"
    feature_dim = cfg.causal_feature_dim if causal else cfg.cross_feature_dim
    feature_map = FEATURE_MAPS[str(cfg.feature_map)](attention.num_heads, attention.head_dim, feature_dim)
    if causal and cfg.causal_window is not None:
        return WindowedLinearAttention(attention, feature_map, cfg.causal_window)
    return LinearAttention(attention, feature_map, causal=causal, gate=causal and cfg.causal_gate)


class LinearAttentionEncoderLayer(TransformerEncoderLayerBase):
    """fairseq's encoder layer, with linear self-attention if the options say so."""

    def __init__(self, cfg, return_fc: bool = False):
        super().__init__(cfg, return_fc=return_fc)
        leave_fast_path(self)

    def upgrade_state_dict_named(self, state_dict, name):
        super().upgrade_state_dict_named(state_dict, name)
        drop_fast_path_copies(state_dict)

    def build_self_attention(self, embed_dim, cfg):
        return swap(super().build_self_attention(embed_dim, cfg), cfg, "encoder")


class LinearAttentionDecoderLayer(TransformerDecoderLayerBase):
    """fairseq's decoder layer, with linear attention to the past and to the source if the options say so."""

    def build_self_attention(self, embed_dim, cfg, add_bias_kv=False, add_zero_attn=False):
        return swap(super().build_self_attention(embed_dim, cfg, add_bias_kv, add_zero_attn), cfg, "causal")

    def build_encoder_attention(self, embed_dim, cfg):
        return swap(super().build_encoder_attention(embed_dim, cfg), cfg, "cross")
