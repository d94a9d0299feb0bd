"""A Transformer language model with linear attention (T2R: Kasai et al., EMNLP 2021, arXiv 2103.13076)."""

from fairseq.models import register_model

from fairseq_lite.models.language_model import LanguageModel
from fairseq_lite.models.linear_attention_layers import check_linear_attention
from fairseq_lite.models.options import T2RLanguageModelConfig
from fairseq_lite.models.t2r_transformer import T2RDecoder


@register_model("t2r_transformer_lm", dataclass=T2RLanguageModelConfig)
class T2RTransformerLanguageModel(LanguageModel):
    """Language model that attends linearly to its past."""

    options = T2RLanguageModelConfig
    decoder_class = T2RDecoder

    @classmethod
    def check(cls, cfg):
        check_linear_attention(cfg, cls.positions)
