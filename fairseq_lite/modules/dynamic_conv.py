from torch import Tensor

from fairseq_lite.modules.conv_branch import ConvBranch, xavier_linear


class DynamicConv(ConvBranch):
    """Dynamic convolution: kernels predicted from the column they are centred on (Wu et al., arXiv 1901.10430).

    Args:
        embed_dim, kernel_size, num_heads: C, K and H
        options: `causal`, `glu`, `weight_softmax` and `weight_dropout` of ConvBranch

    Raises UserError if `embed_dim` is not divisible by `num_heads` or `kernel_size` < 1.

    Examples:
        >>> import torch
        >>> from fairseq_lite import DynamicConv
        >>> x = torch.randn(10, 3, 64)
        >>> DynamicConv(embed_dim=64, kernel_size=7, num_heads=4, causal=True)(x).shape
        torch.Size([10, 3, 64])
    """

    def __init__(self, embed_dim: int, kernel_size: int, num_heads: int, **options):
        super().__init__(embed_dim, kernel_size, num_heads, **options)
        self.weight_linear = xavier_linear(embed_dim, num_heads * kernel_size, bias=False)

    def taps(self, x: Tensor) -> Tensor:
        T, B, _ = x.shape
        return self.normalise(self.weight_linear(x).view(T, B, self.num_heads, self.kernel_size))
