import pytest
import torch

from fairseq_lite.modules.separable_conv import SeparableConv, TemporalConv

T, B = 9, 2


def columns(conv, x, left):
    """The definition, tap by tap."""
    y = torch.zeros(*x.shape[:2], conv.out_channels)
    for t in range(x.size(0)):
        for k in range(conv.kernel_size[0]):
            if 0 <= t + k - left < x.size(0):
                y[t] += x[t + k - left] @ conv.weight[:, :, k].T
    return y if conv.bias is None else y + conv.bias


@pytest.mark.parametrize("causal, kernel_size, left", [(True, 4, 3), (False, 3, 1), (False, 4, 1), (False, 11, 5)])
def test_temporal_convolution_by_definition(causal, kernel_size, left):
    conv = TemporalConv(4, 3, kernel_size, causal=causal)
    torch.nn.init.normal_(conv.bias)
    x = torch.randn(T, B, 4)
    torch.testing.assert_close(conv(x), columns(conv, x, left), rtol=1e-5, atol=1e-5)


def test_separable_convolution_is_a_convolution_of_rank_one_kernels():
    separable, whole = SeparableConv(4, 3, 5), TemporalConv(4, 3, 5, bias=False)
    kernels = separable.depthwise.weight.squeeze(1)
    whole.weight.data = torch.einsum("oc,ck->ock", separable.pointwise.weight, kernels)
    x = torch.randn(T, B, 4)
    torch.testing.assert_close(separable(x), whole(x) + separable.pointwise.bias, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("steps", [[1] * T, [4, 3, 2]])
def test_steps_of_any_size_equal_the_whole_and_keep_one_column_less_than_the_kernel(steps):
    conv, state = SeparableConv(4, 3, 5, causal=True), {}
    x = torch.randn(T, B, 4)
    parts = [conv(part, None, state) for part in x.split(steps)]
    torch.testing.assert_close(torch.cat(parts), conv(x), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(conv.depthwise.past_columns(state), x[-4:])


def test_what_stands_on_padding_is_not_seen():
    conv = TemporalConv(4, 3, 3)
    x = torch.randn(T, B, 4)
    mask = torch.zeros(B, T, dtype=torch.bool)
    mask[1, -3:] = True
    torch.testing.assert_close(conv(x, mask)[:-3, 1:], conv(x[:-3, 1:]), rtol=1e-5, atol=1e-5)
