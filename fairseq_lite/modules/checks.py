"""What the modules ask of the parts that they are given."""

import torch.nn as nn

from fairseq_lite.errors import ArgumentError


def require_projections(attention: nn.Module) -> None:
    """Raise ArgumentError for attention without the projections of fairseq's, such as torch's own."""
    if not hasattr(attention, "q_proj"):
        problem = "has no q_proj, k_proj, v_proj and out_proj; give fairseq.modules.MultiheadAttention"
        raise ArgumentError("attention", type(attention).__name__, problem)


def require_heads(feature_map: nn.Module, attention: nn.Module) -> None:
    """Raise ArgumentError for what is no feature map, or one for other heads than those of the attention."""
    heads, width = attention.num_heads, attention.head_dim
    if (getattr(feature_map, "num_heads", None), getattr(feature_map, "head_dim", None)) != (heads, width):
        named = feature_map if isinstance(feature_map, str) else type(feature_map).__name__
        wanted = f"FEATURE_MAPS[NAME](num_heads={heads}, head_dim={width}, feature_dim=N)"
        raise ArgumentError(
            "feature_map", named, f"does not fit the attention's {heads} heads of {width}; give {wanted}"
        )
