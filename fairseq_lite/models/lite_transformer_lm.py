"""Lite Transformer, decoder only, for language modelling (Wu et al., ICLR 2020, arXiv 2004.11886)."""

from fairseq.models import register_model

from fairseq_lite.models.language_model import LanguageModel
from fairseq_lite.models.lite_transformer import LiteTransformerDecoder
from fairseq_lite.models.lsra_layers import check_decoder, complete_decoder
from fairseq_lite.models.options import LiteTransformerLanguageModelConfig


@register_model("lite_transformer_lm", dataclass=LiteTransformerLanguageModelConfig)
class LiteTransformerLanguageModel(LanguageModel):
    """Language model with causal long-short range attention and a flattened FFN."""

    options = LiteTransformerLanguageModelConfig
    decoder_class = LiteTransformerDecoder

    @classmethod
    def complete(cls, cfg):
        super().complete(cfg)
        complete_decoder(cfg)

    @classmethod
    def check(cls, cfg):
        check_decoder(cfg, cls.positions)
