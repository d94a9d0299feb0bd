"""Depthwise convolution over time, the operator below lightweight and dynamic convolution."""

from typing import Tuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from fairseq_lite.modules.depthwise_conv_algorithms import (
    dynamic_band,
    dynamic_band_taps_gradient,
    dynamic_shifts,
    shared_band,
    shared_band_taps_gradient,
    shared_conv2d,
    shared_conv2d_taps_gradient,
)


def depthwise_conv(x: Tensor, taps: Tensor, left: int) -> Tensor:
    """Convolve every channel over time with the kernel of its head.

    y[t, b, c] = sum_k taps[..., h(c), k] * x[t + k - left, b, c], with x zero outside the sequence; head h owns the
    channels h * C / H .. (h + 1) * C / H - 1 (Wu et al. 2019, https://arxiv.org/abs/1901.10430, equations 3 to 5).

    The algorithm follows from the shapes, data type and device. Under `torch.jit.trace` it is always the same: a
    grouped `conv2d` over the padded input for shared taps, an `einsum` over its windows for dynamic ones.

    Args:
        x: [T, B, C], whose data type the result has, also under autocast
        taps: [H, K], shared by all positions, or [T, B, H, K], one kernel a position
        left: taps to the left of the current position, 0..K-1: K - 1 is causal, (K - 1) // 2 centred

    Raises ValueError if the shapes do not fit or `left` is out of range.
    """
    taps = taps.to(x.dtype)
    if torch.jit.is_scripting():
        _check(x, taps, left)
        taps, left = _reachable(taps, left, x.shape[0])
        return _convolve(x.contiguous(), taps, left)
    else:
        if torch.jit.is_tracing():
            return _traceable(x, taps, left)
        _check(x, taps, left)
        taps, left = _reachable(taps, left, x.shape[0])
        if torch.is_grad_enabled() and (x.requires_grad or taps.requires_grad):
            return _DepthwiseConv.apply(x.contiguous(), taps, left)
        return _convolve(x.contiguous(), taps, left)


def depthwise_conv_naive(x: Tensor, taps: Tensor, left: int) -> Tensor:
    """The definition of `depthwise_conv`, tap by tap, to read and to test against."""
    length, batch, channels = x.shape
    heads, kernel_size = taps.shape[-2:]
    padded = F.pad(x, (0, 0, 0, 0, left, kernel_size - 1 - left))
    padded = padded.view(length + kernel_size - 1, batch, heads, channels // heads)
    shifted = [taps[..., k].unsqueeze(-1) * padded[k : k + length] for k in range(kernel_size)]
    return torch.stack(shifted).sum(0).view(length, batch, channels)


def _check(x: Tensor, taps: Tensor, left: int) -> None:
    heads, kernel_size = taps.shape[-2], taps.shape[-1]
    if x.dim() != 3 or x.shape[2] % heads != 0:
        raise ValueError(f"x must be [T, B, C] with C a multiple of {heads} heads, not {list(x.shape)}")
    if taps.dim() != 2 and (taps.dim() != 4 or taps.shape[:2] != x.shape[:2]):
        raise ValueError(f"taps must be [H, K] or [T, B, H, K], not {list(taps.shape)} for x {list(x.shape)}")
    if not 0 <= left < kernel_size:
        raise ValueError(f"left must be in 0..{kernel_size - 1} for {kernel_size} taps, not {left}")


def _reachable(taps: Tensor, left: int, length: int) -> Tuple[Tensor, int]:
    """Drop the taps that reach outside a short sequence from every position."""
    first, last = max(left - length + 1, 0), min(left + length, taps.shape[-1])
    if last - first == taps.shape[-1]:
        return taps, left
    return taps[..., first:last], left - first


def _is_small(x: Tensor) -> bool:
    # A few sentences: the number of library calls decides, not the arithmetic.
    return x.numel() <= 2**15


def _conv2d_is_fast(x: Tensor) -> bool:
    # Only in float32 does the library have a vectorised grouped convolution for the CPU.
    return x.dtype == torch.float32 or x.device.type != "cpu"


def _convolve_dynamic(x: Tensor, taps: Tensor, left: int) -> Tensor:
    small = _is_small(x)
    if taps.shape[-1] <= (4 if small else 8):
        return dynamic_shifts(x, taps, left)
    return dynamic_band(x, taps, left, 64 if small else 32)


def _convolve(x: Tensor, taps: Tensor, left: int) -> Tensor:
    """Choose an algorithm; the bounds are measured ones, see benchmarks/depthwise_conv.py."""
    length, batch, kernel_size = x.shape[0], x.shape[1], taps.shape[-1]
    if x.numel() == 0:
        return torch.empty_like(x)
    if taps.dim() == 2 and (_is_small(x) or kernel_size == 1):
        taps = taps.expand(length, batch, taps.shape[0], kernel_size)
    if taps.dim() == 4:
        y = _convolve_dynamic(x, taps, left)
    # A band matrix costs up to T products an output where the grouped convolution costs K slower ones.
    elif _conv2d_is_fast(x) and kernel_size <= 8 + length // 5:
        y = shared_conv2d(x, taps, left)
    else:
        y = shared_band(x, taps, left)
    return y.to(x.dtype)


def _taps_gradient(x: Tensor, taps: Tensor, grad: Tensor, left: int) -> Tensor:
    heads, kernel_size = taps.shape[-2:]
    if taps.dim() == 4:
        return dynamic_band_taps_gradient(x, grad, kernel_size, left, heads)
    if _is_small(x):
        return dynamic_band_taps_gradient(x, grad, kernel_size, left, heads).sum((0, 1))
    if _conv2d_is_fast(x):
        return shared_conv2d_taps_gradient(x, grad, kernel_size, left, heads)
    return shared_band_taps_gradient(x, grad, kernel_size, left, heads)


def _transposed(taps: Tensor, left: int) -> Tuple[Tensor, int]:
    """Taps and left of the convolution that carries gradients from y back to x."""
    kernel_size = taps.shape[-1]
    opposite = kernel_size - 1 - left
    flipped = taps.flip(-1)
    if taps.dim() == 4:
        # x[s] met the taps of the positions around s: tap K - 1 - j of position s + j - opposite.
        around = F.pad(flipped, (0, 0, 0, 0, 0, 0, opposite, left)).unfold(0, kernel_size, 1)
        flipped = around.diagonal(dim1=-2, dim2=-1)
    return flipped, opposite


class _DepthwiseConv(torch.autograd.Function):
    """The gradient of a convolution is again one, for x as for the taps: nothing but the two is kept."""

    @staticmethod
    def forward(ctx, x, taps, left):
        ctx.save_for_backward(x, taps)
        ctx.left = left
        return _convolve(x, taps, left)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        x, taps = ctx.saved_tensors
        if x.numel() == 0:
            return torch.zeros_like(x), torch.zeros_like(taps), None
        grad = grad.contiguous()
        x_grad = taps_grad = None
        if ctx.needs_input_grad[0]:
            x_grad = _convolve(grad, *_transposed(taps, ctx.left))
        if ctx.needs_input_grad[1]:
            taps_grad = _taps_gradient(x, taps, grad, ctx.left)
        return x_grad, taps_grad, None


def _traceable(x: Tensor, taps: Tensor, left: int) -> Tensor:
    """K multiply-adds an output element whatever the shapes, so that counting them in a trace is exact."""
    length, batch, channels = x.shape
    heads, kernel_size = taps.shape[-2:]
    padded = F.pad(x, (0, 0, 0, 0, left, kernel_size - 1 - left))
    if taps.dim() == 2:
        weight = taps.repeat_interleave(channels // heads, dim=0).view(channels, 1, kernel_size, 1)
        y = F.conv2d(padded.permute(2, 0, 1).unsqueeze(0), weight, groups=channels)
        return y.squeeze(0).permute(1, 2, 0)
    windows = padded.unfold(0, kernel_size, 1).view(length, batch, heads, channels // heads, kernel_size)
    return torch.einsum("tbhrk,tbhk->tbhr", windows, taps).reshape(length, batch, channels)
