"""Convolutions over time of [T, B, C], whole ones and separable ones; the causal ones decode step by step."""

from typing import Optional

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor

from fairseq_lite.modules.conv_branch import xavier_linear
from fairseq_lite.modules.incremental_state import IncrementalState, RememberedColumns


class TemporalConv(nn.Conv1d, RememberedColumns):
    """y[t] = b + sum_k W[k] x[t + k - left], where x is zero on padding and outside the sentence.

    A causal window has left = K - 1, a centred one (K - 1) // 2. The weights start Xavier-uniform, the bias at zero.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        groups: int = 1,
        bias: bool = True,
        causal: bool = False,
    ):
        super().__init__(in_channels, out_channels, kernel_size, groups=groups, bias=bias)
        self.causal = causal
        self.init_incremental_state()

    def reset_parameters(self) -> None:
        nn.init.xavier_uniform_(self.weight)
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def forward(
        self,
        x: Tensor,
        padding_mask: Optional[Tensor] = None,
        incremental_state: Optional[IncrementalState] = None,
    ) -> Tensor:
        """x: [T, B, C], padding_mask: [B, T] with True on padding; returns [T, B, C'].

        With an incremental state, x holds the next column(s) and the K-1 columns before them are remembered.
        """
        if padding_mask is not None:
            x = x.masked_fill(padding_mask.to(torch.bool).transpose(0, 1).unsqueeze(-1), 0.0)
        taps = self.kernel_size[0]
        columns = self.with_past(x, taps, incremental_state) if self.causal else self._centred(x)
        return super().forward(columns.permute(1, 2, 0)).permute(2, 0, 1)

    def _centred(self, x: Tensor) -> Tensor:
        before = (self.kernel_size[0] - 1) // 2
        return F.pad(x, (0, 0, 0, 0, before, self.kernel_size[0] - 1 - before))


class SeparableConv(nn.Module):
    """A kernel over time for each channel, then one linear map of all channels.

    After "Depthwise Separable Convolutions for Neural Machine Translation" (Kaiser et al., arXiv 1706.03059).
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, causal: bool = False):
        super().__init__()
        self.depthwise = TemporalConv(
            in_channels, in_channels, kernel_size, groups=in_channels, bias=False, causal=causal
        )
        self.pointwise = xavier_linear(in_channels, out_channels)

    def forward(
        self,
        x: Tensor,
        padding_mask: Optional[Tensor] = None,
        incremental_state: Optional[IncrementalState] = None,
    ) -> Tensor:
        """x: [T, B, C], padding_mask: [B, T] with True on padding; returns [T, B, C']."""
        return self.pointwise(self.depthwise(x, padding_mask, incremental_state))
