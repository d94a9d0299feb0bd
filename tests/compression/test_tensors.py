import pytest
import torch

from fairseq_lite.compression.scheme import SMALLEST, Scheme
from fairseq_lite.compression.tensors import as_rows, decode_weights, encode_weights, quantise
from fairseq_lite.errors import UserError, blame_options

SCHEMES = [
    Scheme(bits, method, per_row, entropy_code)
    for bits in (2, 4, 8)
    for method, per_row in (("kmeans", False), ("kmeans", True), ("linear", False))
    for entropy_code in (False, True)
]


EIGHT_BITS = Scheme()


def round_trip(tensor, scheme=EIGHT_BITS, name="weight"):
    return decode_weights(*encode_weights(name, tensor, scheme))


def rms(tensor):
    return tensor.square().mean().sqrt()


def size(tensor, scheme):
    return sum(len(stream.data) for stream in encode_weights("weight", tensor, scheme)[1].values())


@pytest.mark.parametrize("scheme", SCHEMES, ids=str)
@pytest.mark.parametrize("shape", [(64, 200), (5, 4, 300), (1, 2000)])
def test_what_comes_back_is_what_was_quantised(scheme, shape):
    tensor = torch.randn(shape)
    description, streams = encode_weights("weight", tensor, scheme)
    back = decode_weights(description, streams)
    assert back.dtype == torch.float and back.shape == tensor.shape
    if description["coding"] == scheme.method:
        assert torch.equal(back, quantise(as_rows(tensor), scheme).decode().view(shape))
    else:
        # so many levels a row would take more bytes
        assert scheme.per_row and torch.equal(back, tensor.half().float())
    assert rms(back - tensor) < rms(tensor) * 2.0 ** (1.5 - scheme.bits)


@pytest.mark.parametrize("bits", range(2, 9))
def test_bytes_by_formula(bits):
    tensor = torch.randn(40, 256)
    indices = 40 * 256 * bits // 8
    assert size(tensor, Scheme(bits)) == indices + 2 * 2**bits + 8
    assert size(tensor, Scheme(bits, "linear")) == indices + 40 * 8
    if bits < 7:
        assert size(tensor, Scheme(bits, per_row=True)) == indices + 40 * (2 * 2**bits + 8)


@pytest.mark.parametrize("scheme", SCHEMES, ids=str)
@pytest.mark.parametrize("zeros", [0.1, 0.7])
def test_zero_rows_stay_zero(scheme, zeros):
    tensor = torch.randn(50, 100)
    tensor[torch.rand(50) < zeros] = 0
    back = round_trip(tensor, scheme)
    assert torch.equal(back.any(1), tensor.any(1))
    if not scheme.entropy_code and not scheme.per_row and scheme.method == "kmeans":
        filled = int(tensor.any(1).sum())
        assert size(tensor, scheme) == 7 + -(-filled * 100 * scheme.bits // 8) + 2 * 2**scheme.bits + 8


@pytest.mark.parametrize("scheme", SCHEMES, ids=str)
def test_many_zeros_stay_zeros_and_take_one_bit(scheme):
    tensor = torch.randn(50, 100).masked_fill_(torch.rand(50, 100) < 0.8, 0.0)
    back = round_trip(tensor, scheme)
    assert torch.equal(back.ne(0), tensor.ne(0))
    if scheme == Scheme(4):
        nonzero = int(tensor.ne(0).sum())
        assert size(tensor, scheme) == 50 * 100 // 8 + (nonzero * 4 + 7) // 8 + 2 * 16 + 8


@pytest.mark.parametrize("scheme", [Scheme(2), Scheme(2, "linear")], ids=str)
def test_nothing_but_zeros(scheme):
    tensor = torch.zeros(64, 64)
    assert size(tensor, scheme) == 0
    assert torch.equal(round_trip(tensor, scheme), tensor)


@pytest.mark.parametrize(
    "tensor",
    [
        torch.linspace(-2, 2, 700),
        torch.tensor([4097.0, 286001.0]),
        torch.tensor(7),
        torch.tensor([[1e30, 1.0]]),
        torch.tensor([float("-inf"), 0.0]),
        torch.arange(3000).view(50, 60),
        torch.tensor([True, False]),
        torch.zeros(0, 5),
        torch.randn(31, 33),
    ],
    ids=lambda tensor: f"{tensor.dtype}{list(tensor.shape)}",
)
@pytest.mark.parametrize("entropy_code", [False, True])
def test_what_is_not_quantised(tensor, entropy_code):
    """Half precision, but where that is another number."""
    back = round_trip(tensor, Scheme(4, entropy_code=entropy_code))
    assert back.dtype == tensor.dtype
    if tensor.isfinite().all() and tensor.is_floating_point():
        torch.testing.assert_close(back, tensor, rtol=2**-11, atol=0 if tensor.eq(tensor.round()).all() else 1e-7)
    else:
        assert torch.equal(back, tensor)


def test_kept_tensors_are_unchanged():
    scheme = Scheme(2, keep=("embed", r"norm\.weight$"))
    for name in ("encoder.embed_tokens.weight", "layer_norm.weight"):
        tensor = torch.randn(SMALLEST, 2)
        assert torch.equal(round_trip(tensor, scheme, name), tensor)
    assert not torch.equal(round_trip(tensor, scheme, "layer_norm.weight_linear"), tensor)


@pytest.mark.parametrize("dtype", [torch.half, torch.bfloat16])
def test_half_types_come_back_in_float32(dtype):
    for tensor in (torch.randn(64, 64).to(dtype), torch.randn(64).to(dtype)):
        back = round_trip(tensor)
        assert back.dtype == torch.float
        torch.testing.assert_close(back, tensor.float(), rtol=0, atol=0.05)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused(value):
    tensor = torch.randn(64, 64)
    tensor[3, 4] = value
    with pytest.raises(UserError, match=r"fc1\.weight: holds weights that are infinite or not a number"):
        encode_weights("fc1.weight", tensor, Scheme())


@pytest.mark.parametrize(
    "options, message",
    [
        ({"bits": 1}, "bits 1: must be 2 to 8"),
        ({"bits": 9}, "bits 9: must be 2 to 8"),
        ({"method": "log"}, "method log: must be one of kmeans, linear"),
        ({"method": "linear", "per_row": True}, "^per_row: is for kmeans"),
        ({"keep": ("(",)}, r"keep \(: not a regular expression"),
    ],
)
def test_schemes_that_are_none(options, message):
    with pytest.raises(UserError, match=message):
        Scheme(**options)


def test_a_command_puts_its_options_in_the_place_of_arguments():
    with (
        pytest.raises(UserError, match="^--quantize-finetune 9: must be 2 to 8"),
        blame_options(bits="--quantize-finetune"),
    ):
        Scheme(9)
    with pytest.raises(UserError, match="^--per-row: is for kmeans"), blame_options():
        Scheme(method="linear", per_row=True)
