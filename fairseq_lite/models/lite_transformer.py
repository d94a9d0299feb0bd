"""Lite Transformer, encoder-decoder (Wu et al., ICLR 2020, arXiv 2004.11886)."""

from fairseq.models import register_model

from fairseq_lite.models.encoder_decoder import Decoder, Encoder, EncoderDecoderModel
from fairseq_lite.models.lsra_layers import (
    LiteTransformerDecoderLayer,
    LiteTransformerEncoderLayer,
    check_decoder,
    check_side,
    complete_decoder,
    kernel_sizes,
)
from fairseq_lite.models.options import LITE_TRANSFORMER_OPTIONS
from fairseq_lite.models.sublayers import DECODER_POSITIONS, layer_configs


class LiteTransformerEncoder(Encoder):
    """fairseq's encoder of LiteTransformerEncoderLayer."""

    def make_layers(self, cfg, return_fc):
        return (LiteTransformerEncoderLayer(cfg, size, return_fc) for size in kernel_sizes(cfg.encoder, "encoder"))


class LiteTransformerDecoder(Decoder):
    """fairseq's decoder of LiteTransformerDecoderLayer."""

    def make_layers(self, cfg, no_encoder_attn):
        layers = zip(layer_configs(cfg, "decoder"), kernel_sizes(cfg.decoder, "decoder"))
        return (LiteTransformerDecoderLayer(layer_cfg, size, no_encoder_attn) for layer_cfg, size in layers)


@register_model("lite_transformer")
class LiteTransformerModel(EncoderDecoderModel):
    """Encoder-decoder with long-short range attention and a flattened FFN."""

    options = LITE_TRANSFORMER_OPTIONS
    encoder_class = LiteTransformerEncoder
    decoder_class = LiteTransformerDecoder

    @classmethod
    def complete(cls, cfg):
        super().complete(cfg)
        complete_decoder(cfg)

    @classmethod
    def check(cls, cfg):
        check_side(cfg.encoder, "encoder")
        check_decoder(cfg, DECODER_POSITIONS)
