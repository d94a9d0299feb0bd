"""The ways to compute a depthwise convolution over time and the gradient of its taps.

Throughout, x and the output's gradient are contiguous [T, B, C]; shared taps are [H, K], dynamic ones [T, B, H, K].
Every convolution takes (x, taps, left) and compiles with TorchScript;
every gradient takes (x, grad, kernel_size, left, heads) and returns the shape of its taps.
"""

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.grad import conv2d_weight

from fairseq_lite.modules.band import band_conv, band_taps_gradient


def _as_image(x: Tensor) -> Tensor:
    """View [T, B, C] as one channels-last image [1, C, T, B], so that a convolution over T moves no data."""
    return x.unsqueeze(0).permute(0, 3, 1, 2)


def _heads_first(x: Tensor, heads: int) -> Tensor:
    """Gather the columns that share a kernel: [T, B, C] -> [H, T, B * C / H]."""
    length, batch, _ = x.shape
    return x.view(length, batch, heads, -1).permute(2, 0, 1, 3).reshape(heads, length, -1)


def _sequences_first(x: Tensor, heads: int) -> Tensor:
    """View each head of each sequence on its own: [T, B, C] -> [B * H, T, C / H]."""
    length, batch, _ = x.shape
    return x.view(length, batch * heads, -1).transpose(0, 1)


def shared_conv2d(x: Tensor, taps: Tensor, left: int) -> Tensor:
    """Grouped convolution of the library over [T, B] images."""
    length, _, channels = x.shape
    heads, kernel_size = taps.shape
    weight = taps.unsqueeze(1).expand(heads, channels // heads, kernel_size).reshape(channels, 1, kernel_size, 1)
    # The library pads both ends alike: surplus outputs are cut off, which is cheaper than padding a copy of x.
    padding = max(left, kernel_size - 1 - left)
    y = F.conv2d(_as_image(x), weight, padding=[padding, 0], groups=channels)
    return y.permute(0, 2, 3, 1)[0, padding - left : padding - left + length].contiguous()


def shared_conv2d_taps_gradient(x: Tensor, grad: Tensor, kernel_size: int, left: int, heads: int) -> Tensor:
    channels = x.shape[2]
    padded = F.pad(x, [0, 0, 0, 0, left, kernel_size - 1 - left])
    weight_shape = (channels, 1, kernel_size, 1)
    weight_grad = conv2d_weight(_as_image(padded), weight_shape, _as_image(grad), groups=channels)
    return weight_grad.view(heads, -1, kernel_size).sum(1)


def shared_band(x: Tensor, taps: Tensor, left: int, block: int = 64) -> Tensor:
    """One band matrix a head and block, multiplied with all sequences at once."""
    length, batch, channels = x.shape
    heads, kernel_size = taps.shape
    every_position = taps.unsqueeze(1).expand(heads, length, kernel_size)
    y = band_conv(_heads_first(x, heads), every_position, left, block)
    return y.view(heads, length, batch, -1).permute(1, 2, 0, 3).reshape(length, batch, channels)


def shared_band_taps_gradient(
    x: Tensor, grad: Tensor, kernel_size: int, left: int, heads: int, block: int = 64
) -> Tensor:
    return band_taps_gradient(_heads_first(x, heads), _heads_first(grad, heads), kernel_size, left, block).sum(1)


def dynamic_shifts(x: Tensor, taps: Tensor, left: int) -> Tensor:
    """One shifted multiply-add per tap."""
    length, batch, heads, kernel_size = taps.shape
    by_head = x.view(length, batch, heads, -1)
    y = torch.zeros_like(by_head)
    for k in range(kernel_size):
        start, stop = max(left - k, 0), min(length + left - k, length)
        if start < stop:
            y[start:stop].addcmul_(taps[start:stop, :, :, k : k + 1], by_head[start + k - left : stop + k - left])
    return y.view(x.shape)


def dynamic_band(x: Tensor, taps: Tensor, left: int, block: int = 32) -> Tensor:
    """A band matrix for every head, sequence and block."""
    length, batch, heads, kernel_size = taps.shape
    rows = taps.reshape(length, batch * heads, kernel_size).transpose(0, 1)
    y = band_conv(_sequences_first(x, heads), rows, left, block)
    return y.transpose(0, 1).reshape(x.shape)


def dynamic_band_taps_gradient(
    x: Tensor, grad: Tensor, kernel_size: int, left: int, heads: int, block: int = 32
) -> Tensor:
    length, batch, _ = x.shape
    rows = band_taps_gradient(_sequences_first(x, heads), _sequences_first(grad, heads), kernel_size, left, block)
    return rows.transpose(0, 1).reshape(length, batch, heads, kernel_size)
