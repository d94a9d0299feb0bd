"""A Transformer with linear attention, which decodes as an RNN (T2R: Kasai et al., EMNLP 2021, arXiv 2103.13076)."""

from fairseq.models import register_model

from fairseq_lite.models.encoder_decoder import Decoder, Encoder, EncoderDecoderModel
from fairseq_lite.models.linear_attention_layers import (
    LinearAttentionDecoderLayer,
    LinearAttentionEncoderLayer,
    check_linear_attention,
)
from fairseq_lite.models.options import T2R_OPTIONS
from fairseq_lite.models.sublayers import layer_configs


class T2REncoder(Encoder):
    """fairseq's encoder of LinearAttentionEncoderLayer."""

    def make_layers(self, cfg, return_fc):
        return (LinearAttentionEncoderLayer(layer_cfg, return_fc) for layer_cfg in layer_configs(cfg, "encoder"))


class T2RDecoder(Decoder):
    """fairseq's decoder of LinearAttentionDecoderLayer."""

    def make_layers(self, cfg, no_encoder_attn):
        return (LinearAttentionDecoderLayer(layer_cfg, no_encoder_attn) for layer_cfg in layer_configs(cfg, "decoder"))


@register_model("t2r_transformer")
class T2RTransformerModel(EncoderDecoderModel):
    """Encoder-decoder whose decoder attends linearly to its past and to the source."""

    options = T2R_OPTIONS
    encoder_class = T2REncoder
    decoder_class = T2RDecoder

    @classmethod
    def check(cls, cfg):
        check_linear_attention(cfg)
