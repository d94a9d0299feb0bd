"""What the modules ask of the parts that they are given."""

import torch.nn as nn

from fairseq_lite.errors import ArgumentError


def require_projections(attention: nn.Module) -> None:
    """Raise ArgumentError for attention without the projections of fairseq's, such as torch's own."""
    if not hasattr(attention, "q_proj"):
        problem = "has no q_proj, k_proj, v_proj and out_proj; give fairseq.modules.MultiheadAttention"
        raise ArgumentError("attention", type(attention).__name__, problem)
