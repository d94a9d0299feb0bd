import pytest
import torch
from models import batch, build, every_model, mask, output, shrunk
from torch import nn

from fairseq_lite.building import build_architecture
from fairseq_lite.errors import UserError
from fairseq_lite.inference.linears import LINEARS, PACKED, pack_linears, run_linears_in_int8
from fairseq_lite.inference.packed_linear import PackedLinear
from fairseq_lite.modules import PrunedLinear

TOKENS = torch.randint(4, 100, (3, 7), generator=torch.Generator().manual_seed(1))


@torch.no_grad()
def outputs_before_and_after(name, swap):
    model = build_architecture(name, [], 100).eval()
    model.make_generation_fast_(need_attn=False)
    before, _ = model(TOKENS, torch.tensor([7, 7, 7]), TOKENS)
    swap(model)
    after, _ = model(TOKENS, torch.tensor([7, 7, 7]), TOKENS)
    assert not any(type(module) is nn.Linear for module in model.modules())
    return before, after


@pytest.mark.parametrize("name", ["transformer_tiny", "lite_transformer_tiny", "t2r_transformer_tiny"])
def test_int8_is_close_to_float32(name):
    expected, found = outputs_before_and_after(name, run_linears_in_int8)
    assert 0 < (found - expected).square().mean().sqrt() < 0.05 * expected.std()


@pytest.mark.parametrize("name", ["transformer_tiny", "lite_transformer_tiny", "t2r_transformer_tiny"])
def test_packed_equals_plain(name):
    expected, found = outputs_before_and_after(name, pack_linears)
    assert torch.allclose(found, expected, atol=1e-5)


@every_model
@pytest.mark.parametrize("option", LINEARS)
def test_shrunk_models_have_them_too(option, options):
    model = shrunk(options, mask(build(options), 0.4))
    inputs = batch(model)
    with torch.no_grad():
        expected = output(model, inputs)
        LINEARS[option].swap(model)
        assert not any(type(module) in (nn.Linear, PrunedLinear) for module in model.modules())
        rounding = 1e-5 if option == PACKED else 0.05
        assert (output(model, inputs) - expected).square().mean().sqrt() < rounding * expected.std()


@pytest.mark.parametrize("shape", [(5,), (1, 5), (16, 5), (3, 7, 5), (0, 5)])
@pytest.mark.parametrize("bias", [True, False])
def test_packed_linear(shape, bias):
    linear = nn.Linear(5, 3, bias)
    x = torch.randn(shape)
    assert torch.allclose(PackedLinear(linear)(x), linear(x), atol=1e-6)


@pytest.mark.parametrize("option", LINEARS)
def test_half_precision_is_refused(option):
    model = build_architecture("transformer_tiny", [], 100).half()
    with pytest.raises(UserError, match=rf"{option}: the model is in torch\.float16 on cpu; give --cpu"):
        LINEARS[option].swap(model)
