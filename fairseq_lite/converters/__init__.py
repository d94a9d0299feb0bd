from fairseq_lite.converters.lite_transformer import convert_lite_transformer
from fairseq_lite.converters.t2r import convert_t2r

CONVERTERS = {"lite-transformer": convert_lite_transformer, "t2r": convert_t2r}

__all__ = ["CONVERTERS", "convert_lite_transformer", "convert_t2r"]
