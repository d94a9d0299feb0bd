from functools import partial

import pytest
import torch
import torch.nn as nn
import torch.nn.functional as F
from fvcore.nn import FlopCountAnalysis

from fairseq_lite.errors import UserError
from fairseq_lite.measure.operators import FREE, HANDLERS
from fairseq_lite.modules.depthwise_conv import depthwise_conv


class Call(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, *inputs):
        return self.function(*inputs)


def count(function, *shapes):
    analysis = FlopCountAnalysis(Call(function), tuple(torch.zeros(shape) for shape in shapes)).clear_op_handles()
    return analysis.set_op_handle(**HANDLERS, **dict.fromkeys(FREE)).total()


def einsum(equation):
    return lambda *operands: torch.einsum(equation, *operands)


@pytest.mark.parametrize(
    "function, shapes, expected",
    [
        (torch.baddbmm, [(2, 3, 5), (2, 3, 4), (2, 4, 5)], 2 * 3 * 4 * 5),
        (partial(depthwise_conv, left=2), [(7, 2, 6), (3, 5)], 7 * 2 * 6 * 5),
        (partial(depthwise_conv, left=2), [(7, 2, 6), (7, 2, 3, 5)], 7 * 2 * 6 * 5),
        (einsum("bhld,bhsd->bhls"), [(2, 3, 4, 5), (2, 3, 6, 5)], 2 * 3 * 4 * 6 * 5),
        (einsum("...d,...e->...de"), [(2, 3, 4), (2, 3, 5)], 2 * 3 * 4 * 5),
        (einsum("...td,de->...te"), [(2, 3, 4), (4, 5)], 2 * 3 * 4 * 5),
        (einsum("td,d->t"), [(3, 4), (4,)], 3 * 4),
    ],
)
def test_products_count_one_per_multiplication(function, shapes, expected):
    assert count(function, *shapes) == expected


@pytest.mark.skipif(not hasattr(F, "scaled_dot_product_attention"), reason="torch has no fused attention")
@pytest.mark.parametrize("causal", [False, True])
def test_fused_attention_counts_both_products(causal):
    def attention(q, k, v):
        return F.scaled_dot_product_attention(q, k, v, is_causal=causal)

    q, k, v = (2, 3, 5, 4), (2, 3, 7, 4), (2, 3, 7, 6)
    assert count(attention, q, k, v) == 2 * 3 * 5 * 7 * (4 + 6)


def test_fused_encoder_layer_counts_as_its_parts():
    batch, length, dim, ffn, heads, eps = 2, 5, 8, 12, 2, 1e-5

    def fused(x, qkv, qkv_bias, proj, proj_bias, norm, fc1, fc1_bias, fc2, fc2_bias):
        attention = (dim, heads, qkv, qkv_bias, proj, proj_bias)
        norms = (norm, norm, norm, norm)
        return torch._transformer_encoder_layer_fwd(
            x, *attention, False, False, eps, *norms, fc1, fc1_bias, fc2, fc2_bias
        )

    projections = [(3 * dim, dim), (3 * dim,), (dim, dim), (dim,)]
    feed_forward = [(ffn, dim), (ffn,), (dim, ffn), (dim,)]
    counted = count(fused, (batch, length, dim), *projections, (dim,), *feed_forward)
    assert counted == batch * length * (4 * dim**2 + 2 * length * dim + 2 * dim * ffn)


@pytest.mark.parametrize("equation, operands", [("ab,bc,cd->ad", 3), ("ab,bc", 2)])
def test_einsum_of_unclear_cost_is_an_error(equation, operands):
    with pytest.raises(UserError, match=equation):
        count(einsum(equation), *[(3, 3)] * operands)
