from fairseq_lite.converters.lite_transformer import convert_lite_transformer

CONVERTERS = {"lite-transformer": convert_lite_transformer}

__all__ = ["CONVERTERS", "convert_lite_transformer"]
