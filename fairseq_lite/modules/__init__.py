from fairseq_lite.modules.dynamic_conv import DynamicConv
from fairseq_lite.modules.lightweight_conv import LightweightConv
from fairseq_lite.modules.lsra import LSRA

CONVOLUTIONS = {"lightweight": LightweightConv, "dynamic": DynamicConv}

__all__ = ["CONVOLUTIONS", "DynamicConv", "LSRA", "LightweightConv"]
