import pytest
import torch
from torch import nn
from torch.testing import assert_close

from fairseq_lite.modules import depthwise_conv_algorithms as algorithms
from fairseq_lite.modules.depthwise_conv import depthwise_conv, depthwise_conv_naive

BATCH, HEADS, HEAD_SIZE = 2, 3, 2
SHARED = {"conv2d": algorithms.shared_conv2d, "band": algorithms.shared_band}
DYNAMIC = {"shifts": algorithms.dynamic_shifts, "band": algorithms.dynamic_band}
X_GRADIENTS = {"shifts": algorithms.dynamic_shifts_x_gradient, "band": algorithms.dynamic_band_x_gradient}
TAPS_GRADIENTS = {"shared": algorithms.shared_conv2d_taps_gradient, "dynamic": algorithms.dynamic_band_taps_gradient}
# Lengths around the blocks of 32 and 64 positions, and shorter than the kernel.
SHAPES = [(1, 1), (1, 3), (5, 3), (5, 31), (32, 7), (33, 15), (64, 31), (65, 2), (150, 31)]
TOLERANCE = {torch.float64: 1e-10, torch.float32: 1e-5}


def lefts(kernel_size):
    return sorted({0, (kernel_size - 1) // 2, kernel_size // 2, kernel_size - 1})


def case(length, kernel_size, kind, dtype=torch.float64, batch=BATCH, head_size=HEAD_SIZE):
    """x, taps that sum to one, and a gradient of the output."""
    generator = torch.Generator().manual_seed(length + kernel_size)
    positions = (length, batch) if kind == "dynamic" else ()
    x, grad = torch.randn(2, length, batch, HEADS * head_size, generator=generator, dtype=dtype)
    taps = torch.randn(*positions, HEADS, kernel_size, generator=generator, dtype=dtype).softmax(-1)
    return x.requires_grad_(), taps.requires_grad_(), grad


def values_and_gradients(function, x, taps, left, grad):
    y = function(x, taps, left)
    return (y, *torch.autograd.grad(y, [x, taps], grad))


def assert_all_close(actual, expected, tolerance):
    for ours, reference in zip(actual, expected):
        # Sums over positions grow with their number, and their rounding with them.
        assert_close(ours, reference, rtol=tolerance, atol=tolerance * max(1.0, reference.abs().max().item()))


@pytest.mark.parametrize("left", [0, 2, 4])
def test_naive_form_is_the_definition(left):
    x, taps, _ = case(6, 5, "dynamic")
    y = depthwise_conv_naive(x, taps, left)
    for t in range(6):
        reached = [k for k in range(5) if 0 <= t + k - left < 6]
        for channel in range(HEADS * HEAD_SIZE):
            expected = sum(taps[t, 1, channel // HEAD_SIZE, k] * x[t + k - left, 1, channel] for k in reached)
            assert_close(y[t, 1, channel], expected)


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("kind", ["shared", "dynamic"])
@pytest.mark.parametrize("length, kernel_size", SHAPES)
def test_matches_naive_values_and_gradients(length, kernel_size, kind, dtype):
    x, taps, grad = case(length, kernel_size, kind, dtype)
    for left in lefts(kernel_size):
        actual = values_and_gradients(depthwise_conv, x, taps, left, grad)
        expected = values_and_gradients(depthwise_conv_naive, x, taps, left, grad)
        assert_all_close(actual, expected, TOLERANCE[dtype])


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("kind", ["shared", "dynamic"])
@pytest.mark.parametrize("length, kernel_size", [(30, 3), (30, 30), (100, 31)])
def test_matches_naive_where_the_batch_is_large(length, kernel_size, kind, dtype):
    x, taps, grad = case(length, kernel_size, kind, dtype, batch=24, head_size=16)
    actual = values_and_gradients(depthwise_conv, x, taps, kernel_size - 1, grad)
    expected = values_and_gradients(depthwise_conv_naive, x, taps, kernel_size - 1, grad)
    assert_all_close(actual, expected, TOLERANCE[dtype])


@pytest.mark.parametrize("length, kernel_size", SHAPES)
@pytest.mark.parametrize("kind, name", [("shared", n) for n in SHARED] + [("dynamic", n) for n in DYNAMIC])
def test_every_algorithm_matches_naive(kind, name, length, kernel_size):
    algorithm = {"shared": SHARED, "dynamic": DYNAMIC}[kind][name]
    x, taps, _ = case(length, kernel_size, kind)
    for left in lefts(kernel_size):
        with torch.no_grad():
            assert_close(algorithm(x, taps, left), depthwise_conv_naive(x, taps, left), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("length, kernel_size", SHAPES)
@pytest.mark.parametrize("name", X_GRADIENTS)
def test_every_x_gradient_matches_naive(name, length, kernel_size):
    x, taps, grad = case(length, kernel_size, "dynamic")
    for left in lefts(kernel_size):
        (expected,) = torch.autograd.grad(depthwise_conv_naive(x, taps, left), x, grad)
        actual = X_GRADIENTS[name](grad, taps.detach(), left)
        assert_close(actual, expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("length, kernel_size", SHAPES)
@pytest.mark.parametrize("kind", TAPS_GRADIENTS)
def test_every_taps_gradient_matches_naive(kind, length, kernel_size):
    x, taps, grad = case(length, kernel_size, kind)
    for left in lefts(kernel_size):
        (expected,) = torch.autograd.grad(depthwise_conv_naive(x, taps, left), taps, grad)
        actual = TAPS_GRADIENTS[kind](x.detach(), grad, kernel_size, left, HEADS)
        assert_close(actual, expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("kind", ["shared", "dynamic"])
@pytest.mark.parametrize("length, kernel_size", [(1, 3), (4, 3), (3, 9)])
def test_gradcheck(length, kernel_size, kind):
    x, taps, _ = case(length, kernel_size, kind)
    for left in lefts(kernel_size):
        assert torch.autograd.gradcheck(depthwise_conv, (x, taps, left))


@pytest.mark.parametrize("kind", ["shared", "dynamic"])
def test_only_the_wanted_gradient_is_computed(kind):
    x, taps, _ = case(6, 3, kind)
    depthwise_conv(x.detach(), taps, 2).sum().backward()
    assert x.grad is None and taps.grad is not None
    taps.grad = None
    depthwise_conv(x, taps.detach(), 2).sum().backward()
    assert x.grad is not None and taps.grad is None


@pytest.mark.parametrize("kind", ["shared", "dynamic"])
@pytest.mark.parametrize("batch", [2, 300])
@pytest.mark.parametrize("kernel_size", [3, 31])
def test_result_may_be_changed_in_place(kernel_size, batch, kind):
    x, taps, grad = case(40, kernel_size, kind, torch.float32, batch=batch)
    y = depthwise_conv(x, taps, kernel_size - 1)
    y.mul_(2).backward(grad)
    (expected,) = torch.autograd.grad(2 * depthwise_conv_naive(x, taps, kernel_size - 1), x, grad)
    assert_close(x.grad, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", ["shared", "dynamic"])
@pytest.mark.parametrize("length, batch", [(4, 0), (0, 2)])
def test_empty_input_gives_an_empty_result_and_zero_gradients(kind, length, batch):
    x, taps, _ = case(length, 3, kind, batch=batch)
    y = depthwise_conv(x, taps, 1)
    y.sum().backward()
    assert y.shape == x.shape and x.grad.shape == x.shape
    assert_close(taps.grad, torch.zeros_like(taps))


@pytest.mark.parametrize("kind", ["shared", "dynamic"])
def test_strided_input(kind):
    x, taps, grad = case(40, 7, kind)
    strided = x.detach().transpose(0, 1).contiguous().transpose(0, 1).requires_grad_()
    wide = torch.cat([taps, taps], dim=-1)
    actual = values_and_gradients(depthwise_conv, strided, wide[..., :7], 6, grad)
    assert_all_close(actual[:1], [depthwise_conv_naive(x, taps, 6)], 1e-10)


class Convolution(nn.Module):
    def __init__(self, left: int):
        super().__init__()
        self.left = left

    def forward(self, x, taps):
        return depthwise_conv(x, taps, self.left)


@pytest.mark.parametrize("kind", ["shared", "dynamic"])
def test_scripted_equals_eager(kind):
    scripted = torch.jit.script(Convolution(2))
    for length, kernel_size in [(1, 3), (5, 3), (5, 31), (70, 15)]:
        x, taps, grad = case(length, kernel_size, kind)
        actual = values_and_gradients(lambda x, taps, _: scripted(x, taps), x, taps, 2, grad)
        assert_all_close(actual, values_and_gradients(depthwise_conv, x, taps, 2, grad), 1e-10)


@pytest.mark.parametrize("length", [1, 5, 70])
@pytest.mark.parametrize("kind, operator", [("shared", "aten::_convolution"), ("dynamic", "aten::einsum")])
def test_traced_form_is_one_and_the_same(kind, operator, length):
    x, taps, _ = (tensor.detach() for tensor in case(length, 15, kind))
    traced = torch.jit.trace(Convolution(7), (x, taps))
    assert_close(traced(x, taps), depthwise_conv_naive(x, taps, 7), rtol=1e-10, atol=1e-10)
    assert [node.kind() for node in traced.inlined_graph.nodes()].count(operator) == 1


@pytest.mark.parametrize("kind", ["shared", "dynamic"])
@pytest.mark.parametrize("length, kernel_size", [(1, 3), (9, 3), (70, 31)])
def test_bfloat16(length, kernel_size, kind):
    x, taps, grad = case(length, kernel_size, kind, torch.bfloat16)
    actual = values_and_gradients(depthwise_conv, x, taps, kernel_size - 1, grad)
    x, taps = (tensor.detach().double().requires_grad_() for tensor in (x, taps))
    expected = values_and_gradients(depthwise_conv_naive, x, taps, kernel_size - 1, grad.double())
    assert {tensor.dtype for tensor in actual} == {torch.bfloat16}
    assert_all_close([tensor.double() for tensor in actual], expected, 0.05)


@pytest.mark.parametrize("kind", ["shared", "dynamic"])
@pytest.mark.parametrize("batch", [2, 300])
def test_autocast_keeps_the_type_of_x(kind, batch):
    x, taps, grad = case(40, 15, kind, torch.float32, batch=batch)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        for dtype in (torch.float32, torch.bfloat16):
            y = depthwise_conv(x.to(dtype), taps, 14)
            assert y.dtype == dtype
            assert_close(y.float(), depthwise_conv_naive(x, taps, 14), rtol=0.05, atol=0.05)
    y.float().backward(grad)
    assert x.grad.dtype == taps.grad.dtype == torch.float32


@pytest.mark.parametrize(
    "x_shape, taps_shape, left, message",
    [
        ((4, 2, 7), (3, 5), 4, "multiple of 3 heads"),
        ((4, 6), (3, 5), 4, "x must be"),
        ((4, 2, 6), (4, 1, 3, 5), 4, "taps must be"),
        ((4, 2, 6), (3, 5), 5, r"left must be in 0\.\.4"),
        ((4, 2, 6), (3, 5), -1, "left must be"),
    ],
)
def test_shapes_that_do_not_fit(x_shape, taps_shape, left, message):
    with pytest.raises(ValueError, match=message):
        depthwise_conv(torch.zeros(x_shape), torch.zeros(taps_shape), left)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("dtype, tolerance", [(torch.float32, 1e-4), (torch.float16, 2e-2)])
@pytest.mark.parametrize("kind", ["shared", "dynamic"])
@pytest.mark.parametrize("length, kernel_size", SHAPES)
def test_cuda_matches_naive(length, kernel_size, kind, dtype, tolerance):
    x, taps, grad = case(length, kernel_size, kind)
    expected = values_and_gradients(depthwise_conv_naive, x, taps, kernel_size - 1, grad)
    x, taps, grad = (tensor.detach().to("cuda", dtype).requires_grad_() for tensor in (x, taps, grad))
    actual = values_and_gradients(depthwise_conv, x, taps, kernel_size - 1, grad)
    assert_all_close([tensor.cpu().double() for tensor in actual], expected, tolerance)
