"""What this plugin's language models have in common: fairseq's, with layers and options of their own."""

import copy

from fairseq.models.transformer import TransformerConfig
from fairseq.models.transformer_lm import TransformerLanguageModel

from fairseq_lite.models.kept_layers import KeptLayersMixin, settle_layers
from fairseq_lite.models.options import add_options, as_namespace


class LanguageModel(KeptLayersMixin, TransformerLanguageModel):
    """fairseq's Transformer language model; a subclass says which options and decoder it has."""

    options: type
    decoder_class: type
    # Where its attention can be linear.
    positions = ("causal",)

    @classmethod
    def add_args(cls, parser):
        add_options(parser, cls.options())

    @classmethod
    def complete(cls, cfg) -> None:
        """Fill in the options that follow from others or that a language model has no choice of."""
        cfg.linear_attention = ",".join(cls.positions)

    @classmethod
    def check(cls, cfg) -> None:
        """Raise UserError for options that do not fit together; changes none."""

    @classmethod
    def build_model(cls, args, task):
        args = as_namespace(args)
        kept = settle_layers(args)
        # fairseq makes the embeddings and checks their options, in a model without layers; the layers are ours.
        without_layers = copy.copy(args)
        without_layers.decoder_layers = 0
        stock = super().build_model(without_layers, task)
        # fairseq stores these options in checkpoints, after it has filled in this one
        args.max_target_positions = without_layers.max_target_positions
        cfg = TransformerConfig.from_namespace(args)
        cls.complete(cfg)
        cls.check(cfg)
        decoder = cls.decoder_class(cfg, task.target_dictionary, stock.decoder.embed_tokens, no_encoder_attn=True)
        model = cls(decoder)
        model.kept = kept
        return model
