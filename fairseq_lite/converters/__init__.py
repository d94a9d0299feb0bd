from fairseq_lite.converters.bert import convert_bert
from fairseq_lite.converters.lite_transformer import convert_lite_transformer
from fairseq_lite.converters.t2r import convert_t2r

# From a file to a checkpoint, and from a folder to a checkpoint with its dictionaries by name of file.
CONVERTERS = {"lite-transformer": convert_lite_transformer, "t2r": convert_t2r}
FOLDER_CONVERTERS = {"bert": convert_bert}

__all__ = ["CONVERTERS", "FOLDER_CONVERTERS", "convert_bert", "convert_lite_transformer", "convert_t2r"]
