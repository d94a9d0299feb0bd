"""Depthwise convolution over time, the operator below lightweight and dynamic convolution."""

from typing import Tuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from fairseq_lite.modules.depthwise_conv_algorithms import (
    dynamic_band,
    dynamic_band_taps_gradient,
    dynamic_band_x_gradient,
    dynamic_shifts,
    dynamic_shifts_x_gradient,
    grouped_weight,
    shared_band,
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
        taps, left = _prepare(x, taps, left)
        return _convolve(x.contiguous(), taps, left)
    else:
        if torch.jit.is_tracing():
            return _traceable(x, taps, left)
        _check(x, taps, left)
        taps, left = _prepare(x, taps, left)
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


def _prepare(x: Tensor, taps: Tensor, left: int) -> Tuple[Tensor, int]:
    """Equivalent taps and left that are cheaper to convolve with."""
    length, batch, _ = x.shape
    # Taps that reach outside a short sequence from every position are dropped.
    first, last = max(left - length + 1, 0), min(left + length, taps.shape[-1])
    if last - first < taps.shape[-1]:
        taps, left = taps[..., first:last], left - first
    if taps.dim() == 2 and (_is_small(x) or taps.shape[1] == 1):
        taps = taps.expand(length, batch, taps.shape[0], taps.shape[1])
    return taps, left


# The bounds in the following choices are measured ones, see benchmarks/depthwise_conv.py.


def _is_small(x: Tensor) -> bool:
    """Whether the number of library calls decides, not the arithmetic: one or a few sentences."""
    return x.numel() <= 2**15


def _favours_conv2d(x: Tensor, kernel_size: int) -> bool:
    # On the CPU only float32 has a vectorised grouped convolution. A band matrix costs up to T products an output,
    # the grouped convolution K, but each of these takes longer.
    return x.device.type != "cpu" or (x.dtype == torch.float32 and kernel_size <= 6 + x.shape[0] // 5)


def _favours_shifts(x: Tensor, kernel_size: int) -> bool:
    return kernel_size <= (4 if _is_small(x) else 10)


def _block(x: Tensor) -> int:
    # Small blocks save products outside the band, large ones library calls.
    return 64 if _is_small(x) else 32


def _convolve(x: Tensor, taps: Tensor, left: int) -> Tensor:
    kernel_size = taps.shape[-1]
    if x.numel() == 0:
        y = torch.empty_like(x)
    elif taps.dim() == 4:
        y = dynamic_shifts(x, taps, left) if _favours_shifts(x, kernel_size) else dynamic_band(x, taps, left, _block(x))
    else:
        y = shared_conv2d(x, taps, left) if _favours_conv2d(x, kernel_size) else shared_band(x, taps, left)
    return y.to(x.dtype)


def _x_gradient(grad: Tensor, taps: Tensor, left: int) -> Tensor:
    kernel_size = taps.shape[-1]
    if taps.dim() == 2:
        return _convolve(grad, taps.flip(1), kernel_size - 1 - left)
    if _favours_shifts(grad, kernel_size):
        return dynamic_shifts_x_gradient(grad, taps, left)
    return dynamic_band_x_gradient(grad, taps, left, _block(grad))


def _taps_gradient(x: Tensor, grad: Tensor, taps: Tensor, left: int) -> Tensor:
    heads, kernel_size = taps.shape[-2:]
    if taps.dim() == 2 and _favours_conv2d(x, kernel_size):
        return shared_conv2d_taps_gradient(x, grad, kernel_size, left, heads)
    taps_grad = dynamic_band_taps_gradient(x, grad, kernel_size, left, heads, _block(x))
    return taps_grad if taps.dim() == 4 else taps_grad.sum((0, 1))


class _DepthwiseConv(torch.autograd.Function):
    """Keeps x and the taps alone, where autograd would keep the matrices or windows made from them."""

    @staticmethod
    def forward(ctx, x, taps, left):
        ctx.save_for_backward(x, taps)
        ctx.left = left
        # Detached, a view of the memory it was computed in may be changed in place, here by the caller and
        # below by autograd, which otherwise copies each gradient that it adds to another.
        return _convolve(x, taps, left).detach()

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        x, taps = ctx.saved_tensors
        if x.numel() == 0:
            return torch.zeros_like(x), torch.zeros_like(taps), None
        grad = grad.contiguous()
        x_needs_grad, taps_need_grad, _ = ctx.needs_input_grad
        x_grad = _x_gradient(grad, taps, ctx.left).detach() if x_needs_grad else None
        taps_grad = _taps_gradient(x, grad, taps, ctx.left) if taps_need_grad else None
        return x_grad, taps_grad, None


def _traceable(x: Tensor, taps: Tensor, left: int) -> Tensor:
    """K multiply-adds an output element whatever the shapes, so that counting them in a trace is exact."""
    length, batch, channels = x.shape
    heads, kernel_size = taps.shape[-2:]
    padded = F.pad(x, (0, 0, 0, 0, left, kernel_size - 1 - left))
    if taps.dim() == 2:
        y = F.conv2d(padded.permute(2, 0, 1).unsqueeze(0), grouped_weight(taps, channels), groups=channels)
        return y.squeeze(0).permute(1, 2, 0)
    windows = padded.unfold(0, kernel_size, 1).view(length, batch, heads, channels // heads, kernel_size)
    return torch.einsum("tbhrk,tbhk->tbhr", windows, taps).reshape(length, batch, channels)
