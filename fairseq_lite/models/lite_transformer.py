"""Lite Transformer, encoder-decoder (Wu et al., ICLR 2020, arXiv 2004.11886)."""

from typing import Dict, List, Optional

import torch
from fairseq.models import register_model
from fairseq.models.transformer import TransformerConfig, TransformerModelBase
from fairseq.models.transformer.transformer_decoder import TransformerDecoderBase
from fairseq.models.transformer.transformer_encoder import TransformerEncoderBase

from fairseq_lite.errors import UserError
from fairseq_lite.models.layers import (
    LiteTransformerDecoderLayer,
    LiteTransformerEncoderLayer,
    check_decoder,
    check_side,
    kernel_sizes,
    wrap_layer,
)
from fairseq_lite.models.options import add_encoder_decoder_options, as_namespace


def check_tokens(tokens: torch.Tensor, padding_idx: int, max_positions: int, option: str) -> None:
    """Raise UserError for a batch tokens: [B, T] that is empty, too long or has a sentence without a token."""
    if tokens.numel() == 0:
        raise UserError(f"batch of shape {list(tokens.shape)}: empty; give at least one sentence of one token")
    if tokens.size(1) > max_positions:
        raise UserError(
            f"--{option} {max_positions}: a sentence has {tokens.size(1)} tokens; split it or raise the option"
        )
    empty = tokens.eq(padding_idx).all(dim=1)
    if empty.any():
        raise UserError(f"sentence {int(empty.nonzero()[0])} of the batch: all padding; every sentence needs a token")


class LiteTransformerEncoder(TransformerEncoderBase):
    """fairseq's encoder of LiteTransformerEncoderLayer."""

    def __init__(self, cfg, dictionary, embed_tokens, return_fc: bool = False):
        self._kernel_sizes = iter(kernel_sizes(cfg.encoder, "encoder"))
        super().__init__(cfg, dictionary, embed_tokens, return_fc=return_fc)
        del self._kernel_sizes

    def build_encoder_layer(self, cfg):
        return wrap_layer(LiteTransformerEncoderLayer(cfg, next(self._kernel_sizes), self.return_fc), cfg)

    def forward(
        self,
        src_tokens,
        src_lengths: Optional[torch.Tensor] = None,
        return_all_hiddens: bool = False,
        token_embeddings: Optional[torch.Tensor] = None,
    ):
        if not torch.jit.is_scripting():
            check_tokens(src_tokens, self.padding_idx, self.max_source_positions, "max-source-positions")
        return self.forward_scriptable(src_tokens, src_lengths, return_all_hiddens, token_embeddings)


class LiteTransformerDecoder(TransformerDecoderBase):
    """fairseq's decoder of LiteTransformerDecoderLayer."""

    def __init__(self, cfg, dictionary, embed_tokens, no_encoder_attn: bool = False, output_projection=None):
        self._kernel_sizes = iter(kernel_sizes(cfg.decoder, "decoder"))
        super().__init__(cfg, dictionary, embed_tokens, no_encoder_attn, output_projection)
        del self._kernel_sizes

    def build_decoder_layer(self, cfg, no_encoder_attn=False):
        return wrap_layer(LiteTransformerDecoderLayer(cfg, next(self._kernel_sizes), no_encoder_attn), cfg)

    def extract_features(
        self,
        prev_output_tokens,
        encoder_out: Optional[Dict[str, List[torch.Tensor]]] = None,
        incremental_state: Optional[Dict[str, Dict[str, Optional[torch.Tensor]]]] = None,
        full_context_alignment: bool = False,
        alignment_layer: Optional[int] = None,
        alignment_heads: Optional[int] = None,
    ):
        if not torch.jit.is_scripting() and incremental_state is None:
            check_tokens(prev_output_tokens, self.padding_idx, self.max_target_positions, "max-target-positions")
        return self.extract_features_scriptable(
            prev_output_tokens, encoder_out, incremental_state, full_context_alignment, alignment_layer, alignment_heads
        )


@register_model("lite_transformer")
class LiteTransformerModel(TransformerModelBase):
    """Encoder-decoder with long-short range attention and a flattened FFN."""

    @classmethod
    def add_args(cls, parser):
        add_encoder_decoder_options(parser)

    @classmethod
    def build_model(cls, args, task):
        cfg = TransformerConfig.from_namespace(as_namespace(args))
        for side in (cfg.encoder, cfg.decoder):
            # fairseq's parser makes a list of what its build_model splits as a string
            if isinstance(side.layers_to_keep, list):
                side.layers_to_keep = ",".join(map(str, side.layers_to_keep))
        check_side(cfg.encoder, "encoder")
        check_decoder(cfg)
        return super().build_model(cfg, task)

    @classmethod
    def build_encoder(cls, cfg, src_dict, embed_tokens):
        return LiteTransformerEncoder(cfg, src_dict, embed_tokens)

    @classmethod
    def build_decoder(cls, cfg, tgt_dict, embed_tokens):
        return LiteTransformerDecoder(cfg, tgt_dict, embed_tokens, no_encoder_attn=cfg.no_cross_attention)
