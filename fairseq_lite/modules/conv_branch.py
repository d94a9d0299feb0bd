"""What the lightweight and the dynamic convolution have in common."""

from typing import Optional

import torch
import torch.nn as nn
import torch.nn.functional as F
from fairseq.modules import FairseqDropout
from torch import Tensor

from fairseq_lite.errors import UserError
from fairseq_lite.modules.depthwise_conv import depthwise_conv
from fairseq_lite.modules.incremental_state import IncrementalState, RememberedColumns


def xavier_linear(in_features: int, out_features: int, bias: bool = True) -> nn.Linear:
    """A linear layer with Xavier-uniform weights and a zero bias."""
    linear = nn.Linear(in_features, out_features, bias)
    nn.init.xavier_uniform_(linear.weight)
    if bias:
        nn.init.zeros_(linear.bias)
    return linear


def last_column(window: Tensor, taps: Tensor) -> Tensor:
    """Convolve a window of K columns into its last one.

    window: [K, B, C], taps: [H, K] or [B, H, K]; returns [B, C].
    """
    K, B, C = window.shape
    H = taps.size(-2)
    columns = window.view(K, B, H, C // H)
    weights = taps.unsqueeze(0) if taps.dim() == 2 else taps
    return (columns * weights.permute(2, 0, 1).unsqueeze(-1)).sum(dim=0).view(B, C)


class ConvBranch(nn.Module, RememberedColumns):
    """Linear (with GLU or not), depthwise convolution with normalised taps, linear.

    The convolution branch of long-short range attention (arXiv 2004.11886), after "Pay Less Attention with
    Lightweight and Dynamic Convolutions" (arXiv 1901.10430). A subclass says in `taps` where the kernels come from.

    Args:
        embed_dim: C, the channels
        kernel_size: K, the taps
        num_heads: H; the C / H channels of a head share a kernel
        causal: whether the kernel ends at its position, else it is centred there
        glu: whether the first linear layer is gated
        weight_softmax: whether a softmax normalises the K taps
        weight_dropout: probability of DropConnect on the taps

    Raises UserError if `embed_dim` is not divisible by `num_heads` or `kernel_size` < 1.
    """

    def __init__(
        self,
        embed_dim: int,
        kernel_size: int,
        num_heads: int,
        causal: bool = False,
        glu: bool = False,
        weight_softmax: bool = True,
        weight_dropout: float = 0.0,
    ):
        super().__init__()
        if num_heads < 1 or embed_dim % num_heads:
            raise UserError(f"convolution heads: {num_heads} heads do not divide the branch's {embed_dim} channels")
        if kernel_size < 1:
            raise UserError(f"kernel size: {kernel_size}, but a kernel has at least 1 tap")
        self.embed_dim = embed_dim
        self.kernel_size = kernel_size
        self.num_heads = num_heads
        self.causal = causal
        self.glu = glu
        self.weight_softmax = weight_softmax
        self.left = kernel_size - 1 if causal else (kernel_size - 1) // 2
        self.linear1 = xavier_linear(embed_dim, 2 * embed_dim if glu else embed_dim)
        self.linear2 = xavier_linear(embed_dim, embed_dim)
        self.weight_dropout_module = FairseqDropout(weight_dropout, module_name=self.__class__.__name__)
        self.init_incremental_state()

    def taps(self, x: Tensor) -> Tensor:
        """The kernels for x: [T, B, C], as [H, K] for all positions or as [T, B, H, K]."""
        raise NotImplementedError

    def normalise(self, taps: Tensor) -> Tensor:
        """Softmax over the K taps, then DropConnect on them."""
        if self.weight_softmax:
            taps = F.softmax(taps, dim=-1)
        return self.weight_dropout_module(taps)

    def forward(
        self,
        x: Tensor,
        padding_mask: Optional[Tensor] = None,
        incremental_state: Optional[IncrementalState] = None,
    ) -> Tensor:
        """x: [T, B, C], padding_mask: [B, T] with True on padding; returns [T, B, C].

        With `incremental_state`, x holds the next column(s) and the K-1 columns before them are remembered.
        """
        x = self.linear1(x)
        if self.glu:
            x = F.glu(x, dim=-1)
        if padding_mask is not None:
            # After linear1, whose bias would bring padding back to life: a sentence's output must not
            # depend on what it is batched with.
            x = x.masked_fill(padding_mask.to(torch.bool).transpose(0, 1).unsqueeze(-1), 0.0)
        taps = self.taps(x)
        x = depthwise_conv(x, taps, self.left) if incremental_state is None else self.step(x, taps, incremental_state)
        return self.linear2(x)

    def step(self, x: Tensor, taps: Tensor, incremental_state: IncrementalState) -> Tensor:
        """Convolve the next columns x: [T, B, C] with the remembered ones; only causal kernels can."""
        assert self.causal, "incremental decoding needs a causal convolution"
        columns = self.with_past(x, self.kernel_size, incremental_state)
        return torch.stack(
            [
                last_column(columns[t : t + self.kernel_size], taps if taps.dim() == 2 else taps[t])
                for t in range(x.size(0))
            ]
        )

    def extra_repr(self) -> str:
        where = "causal" if self.causal else "centred"
        return f"{self.embed_dim}, kernel_size={self.kernel_size}, num_heads={self.num_heads}, {where}, glu={self.glu}"
