"""Depthwise convolutions as the one operator that they are, whatever algorithm computes them."""

from contextlib import ExitStack, contextmanager
from unittest import mock

import torch
from fairseq.modules import LightweightConv1dTBC, dynamic_convolution

from fairseq_lite.modules import conv_branch


class DepthwiseConvolution(torch.autograd.Function):
    """Stands for a depthwise convolution in a trace: the right shapes, nothing computed."""

    @staticmethod
    def forward(ctx, x, taps):
        """x: [T, B, C], taps: [H, K] or [T, B, H, K]; returns [T, B, C]."""
        return torch.zeros_like(x)


def _depthwise_conv(x, taps, left):
    return DepthwiseConvolution.apply(x, taps)


# fairseq's own modules compute T x T bands, or fewer than K taps for a sentence shorter than K.
def _lightweight_forward(self, x, incremental_state=None, unfold=False):
    return DepthwiseConvolution.apply(x, self.weight.squeeze(1))


def _dynamic_forward(self, x, incremental_state=None, query=None, unfold=None):
    taps = self.weight_linear(x if query is None else query)
    if self.in_proj:
        x, taps = taps.split([self.input_size, self.num_heads * self.kernel_size], dim=-1)
    return DepthwiseConvolution.apply(x, taps.view(*x.shape[:2], self.num_heads, self.kernel_size))


# The official release has the first class alone; later ones build lightconv on its scriptable twin.
_DYNAMIC_CONVOLUTIONS = [
    getattr(dynamic_convolution, name)
    for name in ("DynamicConv1dTBC", "DynamicConv_scripatable")
    if hasattr(dynamic_convolution, name)
]

REPLACEMENTS = [
    (conv_branch, "depthwise_conv", _depthwise_conv),
    (LightweightConv1dTBC, "forward", _lightweight_forward),
    *((convolution, "forward", _dynamic_forward) for convolution in _DYNAMIC_CONVOLUTIONS),
]


@contextmanager
def counted_convolutions():
    """Traces this package's and fairseq's depthwise convolutions as DepthwiseConvolution."""
    with ExitStack() as stack:
        for owner, name, replacement in REPLACEMENTS:
            stack.enter_context(mock.patch.object(owner, name, replacement))
        yield
