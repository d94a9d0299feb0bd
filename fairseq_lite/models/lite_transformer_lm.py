"""Lite Transformer, decoder only, for language modelling (Wu et al., ICLR 2020, arXiv 2004.11886)."""

import copy

from fairseq.models import register_model
from fairseq.models.transformer import TransformerConfig
from fairseq.models.transformer_lm import TransformerLanguageModel

from fairseq_lite.models.layers import check_decoder
from fairseq_lite.models.lite_transformer import LiteTransformerDecoder
from fairseq_lite.models.options import (
    LiteTransformerLanguageModelConfig,
    add_options,
    as_namespace,
)


@register_model("lite_transformer_lm", dataclass=LiteTransformerLanguageModelConfig)
class LiteTransformerLanguageModel(TransformerLanguageModel):
    """Language model with causal long-short range attention and a flattened FFN."""

    @classmethod
    def add_args(cls, parser):
        add_options(parser, LiteTransformerLanguageModelConfig())

    @classmethod
    def build_model(cls, args, task):
        args = as_namespace(args)
        # fairseq makes the embeddings and checks their options, in a model without layers; the layers are ours.
        without_layers = copy.copy(args)
        without_layers.decoder_layers = 0
        without_layers.decoder_layers_to_keep = None
        stock = super().build_model(without_layers, task)
        args.max_target_positions = without_layers.max_target_positions
        cfg = TransformerConfig.from_namespace(args)
        if cfg.decoder.layers_to_keep:
            cfg.decoder.layers = len(cfg.decoder.layers_to_keep.split(","))
        check_decoder(cfg)
        decoder = LiteTransformerDecoder(
            cfg, task.target_dictionary, stock.decoder.embed_tokens, no_encoder_attn=True
        )
        return cls(decoder)
