"""Depthwise convolution over time."""

import torch
import torch.nn.functional as F
from torch import Tensor


def depthwise_conv_naive(x: Tensor, taps: Tensor, left: int) -> Tensor:
    """The definition, one shifted multiply-add per tap."""
    length, batch, channels = x.shape
    heads, kernel_size = taps.shape[-2], taps.shape[-1]
    padded = F.pad(x, (0, 0, 0, 0, left, kernel_size - 1 - left))
    heads_last = padded.reshape(length + kernel_size - 1, batch, heads, channels // heads)
    y = torch.zeros_like(x).reshape(length, batch, heads, channels // heads)
    for k in range(kernel_size):
        y = y + taps[..., k].unsqueeze(-1) * heads_last[k : k + length]
    return y.reshape(length, batch, channels)


def depthwise_conv(x: Tensor, taps: Tensor, left: int) -> Tensor:
    """Depthwise convolution over time."""
    return depthwise_conv_naive(x, taps, left)
