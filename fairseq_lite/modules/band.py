"""Convolution over time as products with band matrices, block by block.

A kernel of K taps at each of L positions is the L x (L + K - 1) matrix whose row i holds its taps from column i on.
Cutting the sequence into blocks keeps the work linear in its length.
"""

from typing import Tuple

import torch
import torch.nn.functional as F
from torch import Tensor


def taps_of_band(band: Tensor, kernel_size: int) -> Tensor:
    """View of the taps in band matrices: row i from column i on; [N, L, L + K - 1] -> [N, L, K]."""
    return band.unfold(2, kernel_size, 1).diagonal(0, 1, 2).transpose(1, 2)


def band_of_taps(taps: Tensor) -> Tensor:
    """Inverse of `taps_of_band`, with zeros elsewhere: [N, L, K] -> [N, L, L + K - 1]."""
    rows, length, kernel_size = taps.shape
    columns = length + kernel_size - 1
    # Rows that are one column too long, one after another, move each row by one more column.
    return F.pad(taps, [0, length]).flatten(1)[:, : length * columns].view(rows, length, columns)


def _receptive_field(start: int, stop: int, kernel_size: int, left: int, length: int) -> Tuple[int, int]:
    """First and one-past-last input that outputs start..stop-1 see, without those outside the sequence."""
    return max(start - left, 0), min(stop - left + kernel_size - 1, length)


def _block_band(taps: Tensor, left: int, start: int, stop: int) -> Tuple[Tensor, int, int]:
    """Band matrix of the outputs start..stop-1 over the inputs first..last-1 that they see, then first and last."""
    _, length, kernel_size = taps.shape
    first, last = _receptive_field(start, stop, kernel_size, left, length)
    band = band_of_taps(taps[:, start:stop])[:, :, first - start + left : last - start + left]
    return band, first, last


def band_conv(x: Tensor, taps: Tensor, left: int, block: int) -> Tensor:
    """y[n, t] = sum_k taps[n, t, k] x[n, t + k - left]; x: [N, T, M], taps: [N, T, K], returns [N, T, M]."""
    length = x.shape[1]
    if length <= block:
        return torch.bmm(_block_band(taps, left, 0, length)[0], x)
    y = torch.empty_like(x)
    for start in range(0, length, block):
        stop = min(start + block, length)
        band, first, last = _block_band(taps, left, start, stop)
        y[:, start:stop] = torch.bmm(band, x[:, first:last])
    return y


def band_conv_x_gradient(grad: Tensor, taps: Tensor, left: int, block: int) -> Tensor:
    """Gradient of `band_conv` with respect to x, given that of y: [N, T, M]."""
    length = grad.shape[1]
    if length <= block:
        return torch.bmm(_block_band(taps, left, 0, length)[0].transpose(1, 2), grad)
    x_grad = torch.zeros_like(grad)
    for start in range(0, length, block):
        stop = min(start + block, length)
        band, first, last = _block_band(taps, left, start, stop)
        x_grad[:, first:last] += torch.bmm(band.transpose(1, 2), grad[:, start:stop])
    return x_grad


def band_conv_taps_gradient(x: Tensor, grad: Tensor, kernel_size: int, left: int, block: int) -> Tensor:
    """Gradient of `band_conv` with respect to its taps: grad[n, t] . x[n, t + k - left], as [N, T, K]."""
    rows, length, _ = x.shape
    taps_grad = x.new_empty(length, rows, kernel_size).transpose(0, 1)
    for start in range(0, length, block):
        stop = min(start + block, length)
        first, last = _receptive_field(start, stop, kernel_size, left, length)
        products = torch.bmm(grad[:, start:stop], x[:, first:last].transpose(1, 2))
        outside = [first - start + left, stop - left + kernel_size - 1 - last]
        taps_grad[:, start:stop] = taps_of_band(F.pad(products, outside), kernel_size)
    return taps_grad
