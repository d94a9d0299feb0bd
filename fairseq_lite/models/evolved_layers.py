"""The cells of the Evolved Transformer (So et al., arXiv 1901.11117): blocks before a pre-norm Transformer layer."""

import copy

import torch.nn.functional as F
from fairseq.modules import LayerNorm
from fairseq.modules.transformer_layer import TransformerDecoderLayerBase

from fairseq_lite.errors import UserError
from fairseq_lite.models.linear_attention_layers import LinearAttentionEncoderLayer
from fairseq_lite.modules.evolved_blocks import (
    DecoderConvolutions,
    EncoderConvolutions,
    GatedLinearUnit,
    ParallelAttention,
)

# The authors double the decoder's heads in the first attention of a cell up to this number.
MOST_DOUBLED_HEADS = 16


def first_attention_heads(heads: int) -> int:
    """Heads of the first attention to the past in a decoder cell, whose other attention has `heads`."""
    return max(heads, min(2 * heads, MOST_DOUBLED_HEADS))


def complete_cells(cfg) -> None:
    """Put the options that are fixed in a cell where layers look for them."""
    # A layer norm between the linear layers of the decoder's FFN, which fairseq's decoder layer builds and its
    # encoder layer does not.
    cfg.scale_fc = True
    # No attention is linear.
    cfg.feature_map = None


def check_cells(cfg) -> None:
    """Raise UserError for options that a cell has no meaning for."""
    for name in ("encoder", "decoder"):
        side = getattr(cfg, name)
        if side.embed_dim % 2:
            raise UserError(f"--{name}-embed-dim {side.embed_dim}: must be even; a branch has half of the channels")
        if not side.normalize_before:
            raise UserError(
                f"--{name}-normalize-before False: must be True, for each block of a cell is normalised first"
            )
    heads = first_attention_heads(cfg.decoder.attention_heads)
    if cfg.decoder.embed_dim % heads:
        raise UserError(
            f"--decoder-attention-heads {cfg.decoder.attention_heads}: gives the first attention of a cell {heads}"
            f" heads, which do not divide the {cfg.decoder.embed_dim} channels of --decoder-embed-dim"
        )
    if cfg.activation_fn != "relu":
        raise UserError(
            f"--activation-fn {cfg.activation_fn}: the cells have ReLU in the encoder and swish in the decoder;"
            " leave it out"
        )
    if cfg.cross_self_attention:
        raise UserError("--cross-self-attention: not possible in cells of the Evolved Transformer; leave it out")


def _with_doubled_heads(cfg):
    cfg, decoder = copy.copy(cfg), copy.copy(cfg.decoder)
    decoder.attention_heads = first_attention_heads(decoder.attention_heads)
    cfg.decoder = decoder
    return cfg


class EvolvedTransformerEncoderLayer(LinearAttentionEncoderLayer):
    """A gated linear unit, branched convolutions, then fairseq's layer: self-attention and FFN."""

    def __init__(self, cfg, return_fc: bool = False):
        super().__init__(cfg, return_fc=return_fc)
        self.glu_layer_norm = LayerNorm(self.embed_dim)
        self.glu = GatedLinearUnit(self.embed_dim)
        self.conv_layer_norm = LayerNorm(self.embed_dim)
        self.conv = EncoderConvolutions(self.embed_dim, self.activation_dropout_module)

    def forward(self, x, encoder_padding_mask, attn_mask=None):
        """x: [S, B, C], encoder_padding_mask: [B, S] with True on padding; returns what fairseq's layer does."""
        x = x + self.dropout_module(self.glu(self.glu_layer_norm(x)))
        x = x + self.dropout_module(self.conv(self.conv_layer_norm(x), encoder_padding_mask))
        return super().forward(x, encoder_padding_mask, attn_mask)


class EvolvedTransformerDecoderLayer(TransformerDecoderLayerBase):
    """Attention to the past and the source at once, branched convolutions, then fairseq's layer with swish.

    fairseq's layer attends to the past, then to the source, and has the FFN.
    """

    def __init__(self, cfg, no_encoder_attn: bool = False):
        super().__init__(cfg, no_encoder_attn=no_encoder_attn)
        self.activation_fn = F.silu
        self.first_attn_layer_norm = LayerNorm(self.embed_dim)
        self.first_attn = ParallelAttention(
            self.build_self_attention(self.embed_dim, _with_doubled_heads(cfg)),
            None if no_encoder_attn else self.build_encoder_attention(self.embed_dim, cfg),
            self.dropout_module,
        )
        self.conv_layer_norm = LayerNorm(self.embed_dim)
        self.conv = DecoderConvolutions(self.embed_dim, self.activation_dropout_module)

    def forward(
        self,
        x,
        encoder_out=None,
        encoder_padding_mask=None,
        incremental_state=None,
        *,
        self_attn_mask=None,
        self_attn_padding_mask=None,
        **asked,
    ):
        """x: [T, B, C], encoder_out: [S, B, C'], masks [B, S], [T, T] and [B, T]; returns what fairseq's layer does.

        `asked` are fairseq's requests for attention weights, which are those of its own layer.
        """
        y = self.first_attn_layer_norm(x)
        x = x + self.first_attn(
            y, encoder_out, encoder_padding_mask, incremental_state, self_attn_mask, self_attn_padding_mask
        )
        y = self.conv(self.conv_layer_norm(x), self_attn_padding_mask, incremental_state)
        return super().forward(
            x + self.dropout_module(y),
            encoder_out,
            encoder_padding_mask,
            incremental_state,
            self_attn_mask=self_attn_mask,
            self_attn_padding_mask=self_attn_padding_mask,
            **asked,
        )
