"""Layers that take plain arguments, for fairseq's models and others."""

from fairseq_lite.modules.dynamic_conv import DynamicConv
from fairseq_lite.modules.feature_maps import FEATURE_MAPS
from fairseq_lite.modules.incremental_state import IncrementalState
from fairseq_lite.modules.lightweight_conv import LightweightConv
from fairseq_lite.modules.linear_attention import LinearAttention
from fairseq_lite.modules.lsra import LSRA
from fairseq_lite.modules.pruned_linear import PrunedLinear, Widths
from fairseq_lite.modules.windowed_attention import WindowedLinearAttention

CONVOLUTIONS = {"lightweight": LightweightConv, "dynamic": DynamicConv}

__all__ = [
    "CONVOLUTIONS",
    "DynamicConv",
    "FEATURE_MAPS",
    "IncrementalState",
    "LSRA",
    "LightweightConv",
    "LinearAttention",
    "PrunedLinear",
    "Widths",
    "WindowedLinearAttention",
]
