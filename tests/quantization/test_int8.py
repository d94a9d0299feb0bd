import pytest
import torch
from torch import nn

from fairseq_lite.building import build_architecture
from fairseq_lite.errors import UserError
from fairseq_lite.quantization.int8 import run_linears_in_int8

TOKENS = torch.randint(4, 100, (3, 7), generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("name", ["transformer_tiny", "lite_transformer_tiny", "t2r_transformer_tiny"])
def test_close_to_float32(name):
    model = build_architecture(name, [], 100).eval()
    model.make_generation_fast_(need_attn=False)
    with torch.no_grad():
        expected, _ = model(TOKENS, torch.tensor([7, 7, 7]), TOKENS)
        run_linears_in_int8(model)
        found, _ = model(TOKENS, torch.tensor([7, 7, 7]), TOKENS)
    assert not any(type(module) is nn.Linear for module in model.modules())
    assert 0 < (found - expected).square().mean().sqrt() < 0.05 * expected.std()


def test_half_precision_is_refused():
    model = build_architecture("transformer_tiny", [], 100).half()
    with pytest.raises(UserError, match=r"--int8-inference: the model is in torch\.float16 on cpu; give --cpu"):
        run_linears_in_int8(model)
