"""fairseq's depthwise convolutions as this package's, whose trace has a multiply-add for each tap."""

from contextlib import ExitStack, contextmanager
from unittest import mock

from fairseq.modules import LightweightConv1dTBC, dynamic_convolution

from fairseq_lite.modules.depthwise_conv import depthwise_conv


# fairseq's own modules compute T x T bands, or fewer than K taps for a sentence shorter than K.
def _lightweight_forward(self, x, incremental_state=None, unfold=False):
    return depthwise_conv(x, self.weight.squeeze(1), self.padding_l)


def _dynamic_forward(self, x, incremental_state=None, query=None, unfold=None):
    taps = self.weight_linear(x if query is None else query)
    if self.in_proj:
        x, taps = taps.split([self.input_size, self.num_heads * self.kernel_size], dim=-1)
    return depthwise_conv(x, taps.view(*x.shape[:2], self.num_heads, self.kernel_size), self.padding_l)


# The official release has the first class alone; later ones build lightconv on its scriptable twin.
_DYNAMIC_CONVOLUTIONS = [
    getattr(dynamic_convolution, name)
    for name in ("DynamicConv1dTBC", "DynamicConv_scripatable")
    if hasattr(dynamic_convolution, name)
]

REPLACEMENTS = [
    (LightweightConv1dTBC, "forward", _lightweight_forward),
    *((convolution, "forward", _dynamic_forward) for convolution in _DYNAMIC_CONVOLUTIONS),
]


@contextmanager
def counted_convolutions():
    """Traces fairseq's depthwise convolutions as `depthwise_conv`."""
    with ExitStack() as stack:
        for owner, name, replacement in REPLACEMENTS:
            stack.enter_context(mock.patch.object(owner, name, replacement))
        yield
