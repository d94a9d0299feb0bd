import torch
import torch.nn as nn
from torch import Tensor

from fairseq_lite.modules.conv_branch import ConvBranch


class LightweightConv(ConvBranch):
    """Lightweight convolution: one learned kernel a head, the same at every position (Wu et al., arXiv 1901.10430).

    Args:
        embed_dim, kernel_size, num_heads: C, K and H
        options: `causal`, `glu`, `weight_softmax` and `weight_dropout` of ConvBranch

    Raises UserError if `embed_dim` is not divisible by `num_heads` or `kernel_size` < 1.

    Examples:
        >>> import torch
        >>> from fairseq_lite import LightweightConv
        >>> x = torch.randn(10, 3, 64)
        >>> LightweightConv(embed_dim=64, kernel_size=7, num_heads=4, causal=True)(x).shape
        torch.Size([10, 3, 64])
    """

    def __init__(self, embed_dim: int, kernel_size: int, num_heads: int, **options):
        super().__init__(embed_dim, kernel_size, num_heads, **options)
        self.weight = nn.Parameter(torch.empty(num_heads, 1, kernel_size))
        # With the fans of a matrix [H, K], as the authors' layer on a GPU starts.
        with torch.no_grad():
            nn.init.xavier_uniform_(self.weight.squeeze(1))

    def taps(self, x: Tensor) -> Tensor:
        return self.normalise(self.weight.squeeze(1))
