"""The Evolved Transformer, encoder-decoder (So et al., ICML 2019, arXiv 1901.11117)."""

from fairseq.models import register_model

from fairseq_lite.models.encoder_decoder import Decoder, Encoder, EncoderDecoderModel
from fairseq_lite.models.evolved_layers import (
    EvolvedTransformerDecoderLayer,
    EvolvedTransformerEncoderLayer,
    check_cells,
    complete_cells,
)
from fairseq_lite.models.options import TRANSFORMER_OPTIONS


class EvolvedTransformerEncoder(Encoder):
    """fairseq's encoder of EvolvedTransformerEncoderLayer."""

    def make_layers(self, cfg, return_fc):
        return (EvolvedTransformerEncoderLayer(cfg, return_fc) for _ in range(cfg.encoder.layers))


class EvolvedTransformerDecoder(Decoder):
    """fairseq's decoder of EvolvedTransformerDecoderLayer."""

    def make_layers(self, cfg, no_encoder_attn):
        return (EvolvedTransformerDecoderLayer(cfg, no_encoder_attn) for _ in range(cfg.decoder.layers))


@register_model("evolved_transformer")
class EvolvedTransformerModel(EncoderDecoderModel):
    """Encoder-decoder of the cells that the search found; each does the work of two Transformer layers."""

    options = TRANSFORMER_OPTIONS
    encoder_class = EvolvedTransformerEncoder
    decoder_class = EvolvedTransformerDecoder

    @classmethod
    def complete(cls, cfg):
        super().complete(cfg)
        complete_cells(cfg)

    @classmethod
    def check(cls, cfg):
        check_cells(cfg)
