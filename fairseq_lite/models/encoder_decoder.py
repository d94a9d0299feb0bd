"""What this plugin's encoder-decoder models have in common: fairseq's, with layers and options of their own."""

from typing import Dict, Iterator, List, Optional

import torch
import torch.nn as nn
from fairseq.distributed import fsdp_wrap
from fairseq.models.transformer import TransformerConfig, TransformerModelBase
from fairseq.models.transformer.transformer_decoder import TransformerDecoderBase
from fairseq.models.transformer.transformer_encoder import TransformerEncoderBase
from fairseq.modules import LearnedPositionalEmbedding
from fairseq.modules.checkpoint_activations import checkpoint_wrapper

from fairseq_lite.errors import UserError
from fairseq_lite.models.kept_layers import KeptLayersMixin, settle_layers
from fairseq_lite.models.linear_attention_layers import all_causal_attention_is_linear, check_alignments
from fairseq_lite.models.options import EncoderDecoderOptions, as_namespace
from fairseq_lite.modules import IncrementalState


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


def wrap_layer(layer: nn.Module, cfg) -> nn.Module:
    """Apply activation checkpointing and sharding as the options ask."""
    if cfg.checkpoint_activations:
        layer = checkpoint_wrapper(layer, offload_to_cpu=cfg.offload_activations)
    return fsdp_wrap(layer, min_num_params=0 if cfg.checkpoint_activations else cfg.min_params_to_wrap)


def no_future_mask(x: torch.Tensor) -> Optional[torch.Tensor]:
    return None


class Encoder(TransformerEncoderBase):
    """fairseq's encoder of the layers that a subclass makes.

    `build_encoder_layer` is the narrowest hook that fairseq leaves, but it is not told a layer's number. So
    `make_layers` hands the layers on one by one while fairseq's constructor runs.
    """

    def __init__(self, cfg, dictionary, embed_tokens, return_fc: bool = False):
        self._layers = self.make_layers(cfg, return_fc)
        super().__init__(cfg, dictionary, embed_tokens, return_fc=return_fc)
        del self._layers

    @torch.jit.unused
    def make_layers(self, cfg, return_fc: bool) -> Iterator[nn.Module]:
        """The layers, first to last, each made when it is asked for."""
        raise NotImplementedError

    @torch.jit.unused
    def build_encoder_layer(self, cfg):
        return wrap_layer(next(self._layers), cfg)

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


class Decoder(TransformerDecoderBase):
    """fairseq's decoder of the layers that a subclass makes, one by one as in Encoder."""

    def __init__(self, cfg, dictionary, embed_tokens, no_encoder_attn: bool = False, output_projection=None):
        self._layers = self.make_layers(cfg, no_encoder_attn)
        super().__init__(cfg, dictionary, embed_tokens, no_encoder_attn, output_projection)
        del self._layers
        if all_causal_attention_is_linear(cfg):
            # fairseq's mask of T x T would be all that grows quadratically with the length. An attribute, since
            # TorchScript compiles a method of this name in fairseq's class and not one that overrides it.
            self.buffered_future_mask = no_future_mask
        self.longest = self.max_target_positions + int(bool(getattr(cfg, "add_bos_token", False)))
        if isinstance(self.embed_positions, LearnedPositionalEmbedding):
            self.longest = min(self.longest, self.embed_positions.max_positions)

    @torch.jit.unused
    def make_layers(self, cfg, no_encoder_attn: bool) -> Iterator[nn.Module]:
        """The layers, first to last, each made when it is asked for."""
        raise NotImplementedError

    @torch.jit.unused
    def build_decoder_layer(self, cfg, no_encoder_attn=False):
        return wrap_layer(next(self._layers), cfg)

    def extract_features(
        self,
        prev_output_tokens,
        encoder_out: Optional[Dict[str, List[torch.Tensor]]] = None,
        incremental_state: Optional[IncrementalState] = None,
        full_context_alignment: bool = False,
        alignment_layer: Optional[int] = None,
        alignment_heads: Optional[int] = None,
    ):
        if not torch.jit.is_scripting() and incremental_state is None:
            check_tokens(prev_output_tokens, self.padding_idx, self.longest, "max-target-positions")
        return self.extract_features_scriptable(
            prev_output_tokens, encoder_out, incremental_state, full_context_alignment, alignment_layer, alignment_heads
        )


class EncoderDecoderModel(KeptLayersMixin, TransformerModelBase):
    """fairseq's encoder-decoder model; a subclass says which options, encoder and decoder it has."""

    options: EncoderDecoderOptions
    encoder_class: type
    decoder_class: type

    @classmethod
    def add_args(cls, parser):
        cls.options.add_to(parser)

    @classmethod
    def complete(cls, cfg) -> None:
        """Fill in the options that follow from others."""

    @classmethod
    def check(cls, cfg) -> None:
        """Raise UserError for options that do not fit together; changes none."""

    @classmethod
    def build_model(cls, args, task):
        kept = settle_layers(args)
        cfg = TransformerConfig.from_namespace(as_namespace(args))
        cls.complete(cfg)
        cls.check(cfg)
        check_alignments(cfg, task)
        model = super().build_model(cfg, task)
        model.kept = kept
        return model

    @classmethod
    def build_encoder(cls, cfg, src_dict, embed_tokens):
        return cls.encoder_class(cfg, src_dict, embed_tokens)

    @classmethod
    def build_decoder(cls, cfg, tgt_dict, embed_tokens):
        return cls.decoder_class(cfg, tgt_dict, embed_tokens, no_encoder_attn=cfg.no_cross_attention)
