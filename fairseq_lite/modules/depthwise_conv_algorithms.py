"""The ways to compute a depthwise convolution over time and its gradients.

Throughout, x and the gradient of the output are contiguous [T, B, C]; shared taps are [H, K], dynamic ones
[T, B, H, K]. The convolutions compile with TorchScript. The gradient of a convolution with shared taps with respect
to x needs no function: it is the convolution with the flipped taps.
"""

from typing import Tuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.grad import conv2d_weight

from fairseq_lite.modules.band import band_conv, band_conv_taps_gradient, band_conv_x_gradient


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


def _taps_sequences_first(taps: Tensor) -> Tensor:
    """View [T, B, H, K] as [B * H, T, K]."""
    length, batch, heads, kernel_size = taps.shape
    return taps.reshape(length, batch * heads, kernel_size).transpose(0, 1)


def grouped_weight(taps: Tensor, channels: int) -> Tensor:
    """Kernels of a grouped two-dimensional convolution over time: [H, K] -> [C, 1, K, 1]."""
    heads, kernel_size = taps.shape
    return taps.unsqueeze(1).expand(heads, channels // heads, kernel_size).reshape(channels, 1, kernel_size, 1)


def shared_conv2d(x: Tensor, taps: Tensor, left: int) -> Tensor:
    """Grouped convolution of the library over [T, B] images."""
    length, _, channels = x.shape
    kernel_size = taps.shape[1]
    # The library pads both ends alike: surplus outputs are cut off, which is cheaper than padding a copy of x.
    padding = max(left, kernel_size - 1 - left)
    y = F.conv2d(_as_image(x), grouped_weight(taps, channels), padding=[padding, 0], groups=channels)
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


def _outputs_of_tap(k: int, left: int, length: int) -> Tuple[int, int]:
    """First and one-past-last output that tap k reaches from inside the sequence; both 0 where there are none."""
    if abs(k - left) >= length:
        return 0, 0
    return max(left - k, 0), min(length + left - k, length)


def dynamic_shifts(x: Tensor, taps: Tensor, left: int) -> Tensor:
    """One shifted multiply-add per tap."""
    length, batch, heads, kernel_size = taps.shape
    by_head = x.view(length, batch, heads, -1)
    y = torch.zeros_like(by_head)
    for k in range(kernel_size):
        start, stop = _outputs_of_tap(k, left, length)
        y[start:stop].addcmul_(taps[start:stop, :, :, k : k + 1], by_head[start + k - left : stop + k - left])
    return y.view(x.shape)


def dynamic_shifts_x_gradient(grad: Tensor, taps: Tensor, left: int) -> Tensor:
    length, batch, heads, kernel_size = taps.shape
    by_head = grad.view(length, batch, heads, -1)
    x_grad = torch.zeros_like(by_head)
    for k in range(kernel_size):
        start, stop = _outputs_of_tap(k, left, length)
        x_grad[start + k - left : stop + k - left].addcmul_(taps[start:stop, :, :, k : k + 1], by_head[start:stop])
    return x_grad.view(grad.shape)


def dynamic_band(x: Tensor, taps: Tensor, left: int, block: int = 32) -> Tensor:
    """A band matrix for every head, sequence and block."""
    y = band_conv(_sequences_first(x, taps.shape[2]), _taps_sequences_first(taps), left, block)
    return y.transpose(0, 1).reshape(x.shape)


def dynamic_band_x_gradient(grad: Tensor, taps: Tensor, left: int, block: int = 32) -> Tensor:
    x_grad = band_conv_x_gradient(_sequences_first(grad, taps.shape[2]), _taps_sequences_first(taps), left, block)
    return x_grad.transpose(0, 1).reshape(grad.shape)


def dynamic_band_taps_gradient(
    x: Tensor, grad: Tensor, kernel_size: int, left: int, heads: int, block: int = 32
) -> Tensor:
    length, batch, _ = x.shape
    x, grad = _sequences_first(x, heads), _sequences_first(grad, heads)
    taps_grad = band_conv_taps_gradient(x, grad, kernel_size, left, block)
    return taps_grad.transpose(0, 1).reshape(length, batch, heads, kernel_size)
