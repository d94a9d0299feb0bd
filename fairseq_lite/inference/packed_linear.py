import torch
import torch.nn as nn
from torch import Tensor

# Rows that the packing is made for; it serves any number.
ROWS = 16


def can_pack() -> bool:
    """Whether the installed torch packs the weights of linear layers."""
    return torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_reorder_linear_weight")


class PackedLinear(nn.Module):
    """A linear layer of which the weight lies in memory as oneDNN multiplies it, instead of being brought so each time.

    For inference on a CPU in float32 only.
    """

    def __init__(self, linear: nn.Linear):
        super().__init__()
        self.in_features, self.out_features = linear.in_features, linear.out_features
        self.bias = linear.bias
        self.packed = torch.ops.mkldnn._reorder_linear_weight(linear.weight.detach(), ROWS)

    def forward(self, x: Tensor) -> Tensor:
        """x: [..., in_features]; returns [..., out_features]."""
        return torch.ops.mkldnn._linear_pointwise(x, self.packed, self.bias, "none", [], "")
