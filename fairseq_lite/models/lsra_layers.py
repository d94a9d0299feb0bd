"""fairseq's encoder and decoder layers with long-short range attention and a flattened FFN."""

import copy
from typing import List, Sequence

import torch.nn as nn
from fairseq.modules.quant_noise import quant_noise

from fairseq_lite.errors import UserError
from fairseq_lite.models.linear_attention_layers import (
    LinearAttentionDecoderLayer,
    LinearAttentionEncoderLayer,
    check_linear_attention,
)
from fairseq_lite.models.sublayers import kept_layers
from fairseq_lite.modules import CONVOLUTIONS, LSRA

# Beyond what any sentence is long; a kernel is stored, and computed, whole.
MOST_TAPS = 4096


def attention_dim(side) -> int:
    """Channels of the attention branch; half of them unless said otherwise."""
    return side.embed_dim // 2 if side.attention_dim is None else side.attention_dim


def self_attention_heads(side) -> int:
    return side.attention_heads if side.self_attention_heads is None else side.self_attention_heads


def kernel_sizes(side, name: str) -> List[int]:
    """One kernel size for each layer that is kept; raises UserError for what is no list of sizes.

    `name` is the side's in the option's flag, "encoder" or "decoder".
    """
    try:
        sizes = [int(size) for size in str(side.kernel_sizes).strip("[]()").split(",")]
    except ValueError:
        raise UserError(
            f"--{name}-kernel-sizes {side.kernel_sizes}: give whole numbers separated by commas, one a layer"
        ) from None
    if side.layers_to_keep and len(sizes) != side.layers:
        sizes = [sizes[number] for number in kept_layers(side)]
    return sizes


def check_side(side, name: str) -> None:
    """Raise UserError for options of one side ("encoder" or "decoder") that do not fit together."""
    sizes = kernel_sizes(side, name)
    dim = attention_dim(side)
    heads = self_attention_heads(side)
    if side.conv_type not in CONVOLUTIONS:
        raise UserError(f"--{name}-conv-type {side.conv_type}: unknown; take one of {', '.join(CONVOLUTIONS)}")
    if len(sizes) != side.layers:
        raise UserError(
            f"--{name}-kernel-sizes {side.kernel_sizes}: {len(sizes)} sizes for {side.layers} layers; give one a layer"
        )
    if sizes and not 1 <= min(sizes) <= max(sizes) <= MOST_TAPS:
        raise UserError(f"--{name}-kernel-sizes {side.kernel_sizes}: a kernel has 1 to {MOST_TAPS} taps")
    if not 0 < dim < side.embed_dim:
        raise UserError(
            f"--{name}-attention-dim {dim}: must lie between 1 and {side.embed_dim - 1}, "
            f"so that both branches get some of the {side.embed_dim} channels"
        )
    if heads < 1 or dim % heads:
        raise UserError(
            f"--{name}-self-attention-heads {heads}: does not divide the {dim} channels of --{name}-attention-dim"
        )
    if side.conv_heads < 1 or (side.embed_dim - dim) % side.conv_heads:
        raise UserError(
            f"--{name}-conv-heads {side.conv_heads}: does not divide the {side.embed_dim - dim} channels that"
            f" --{name}-attention-dim leaves"
        )


def complete_decoder(cfg) -> None:
    """Put the decoder's feature map where layers look for that of the model."""
    cfg.feature_map = cfg.decoder.feature_map


def check_decoder(cfg, positions: Sequence[str]) -> None:
    """Raise UserError for decoder options that do not fit together or that this attention has no meaning for.

    `positions`: where the model's attention can be linear.
    """
    check_side(cfg.decoder, "decoder")
    check_linear_attention(cfg, positions)
    for option in ("cross_self_attention", "scale_heads"):
        if getattr(cfg, option, False):
            raise UserError(f"--{option.replace('_', '-')}: not possible with long-short range attention; leave it out")


class _LiteLayer:
    """The hooks that the two layers share; `kernel_size` is set before fairseq's constructor builds the parts."""

    def _build_conv(self, side, cfg, causal: bool) -> nn.Module:
        return CONVOLUTIONS[str(side.conv_type)](
            side.embed_dim - attention_dim(side),
            self.kernel_size,
            side.conv_heads,
            causal=causal,
            glu=side.conv_glu,
            weight_softmax=cfg.weight_softmax,
            weight_dropout=cfg.weight_dropout,
        )

    def _build_ffn_linear(self, input_dim: int, output_dim: int, q_noise: float, qn_block_size: int) -> nn.Module:
        linear = nn.Linear(input_dim, output_dim)
        if self.ffn_init_ratio == 1:
            nn.init.xavier_uniform_(linear.weight)
        else:
            bound = (6 / (input_dim * (1 + self.ffn_init_ratio))) ** 0.5
            nn.init.uniform_(linear.weight, -bound, bound)
        nn.init.zeros_(linear.bias)
        return quant_noise(linear, q_noise, qn_block_size)

    build_fc1 = _build_ffn_linear
    build_fc2 = _build_ffn_linear


def _attention_branch_config(cfg, name: str):
    """The options with the heads of the attention branch where fairseq looks for those of self-attention."""
    cfg, side = copy.copy(cfg), copy.copy(getattr(cfg, name))
    side.attention_heads = self_attention_heads(side)
    setattr(cfg, name, side)
    return cfg


class LiteTransformerEncoderLayer(_LiteLayer, LinearAttentionEncoderLayer):
    """fairseq's encoder layer whose self-attention is long-short range attention."""

    def __init__(self, cfg, kernel_size: int, return_fc: bool = False):
        self.kernel_size = kernel_size
        self.ffn_init_ratio = cfg.ffn_init_ratio
        super().__init__(cfg, return_fc=return_fc)

    def build_self_attention(self, embed_dim, cfg):
        attention = super().build_self_attention(attention_dim(cfg.encoder), _attention_branch_config(cfg, "encoder"))
        return LSRA(attention, self._build_conv(cfg.encoder, cfg, causal=False))


class LiteTransformerDecoderLayer(_LiteLayer, LinearAttentionDecoderLayer):
    """fairseq's decoder layer whose self-attention is causal long-short range attention."""

    def __init__(self, cfg, kernel_size: int, no_encoder_attn: bool = False):
        self.kernel_size = kernel_size
        self.ffn_init_ratio = cfg.ffn_init_ratio
        super().__init__(cfg, no_encoder_attn=no_encoder_attn)

    def build_self_attention(self, embed_dim, cfg, add_bias_kv=False, add_zero_attn=False):
        attention = super().build_self_attention(
            attention_dim(cfg.decoder), _attention_branch_config(cfg, "decoder"), add_bias_kv, add_zero_attn
        )
        return LSRA(attention, self._build_conv(cfg.decoder, cfg, causal=True))
