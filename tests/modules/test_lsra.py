import pytest
import torch
from fairseq.modules import MultiheadAttention

from fairseq_lite.modules import CONVOLUTIONS, LSRA

T, B = 7, 3
SIZES = [(8, 8), (4, 12), (12, 4)]

every_kind = pytest.mark.parametrize("kind", CONVOLUTIONS)
every_size = pytest.mark.parametrize("attention_dim, conv_dim", SIZES)


def build(kind, attention_dim, conv_dim, causal=False):
    attention = MultiheadAttention(attention_dim, 2, self_attention=True)
    conv = CONVOLUTIONS[kind](conv_dim, 3, 4, causal=causal)
    return LSRA(attention, conv).double().eval()


def attend(lsra, x, **options):
    return lsra(query=x, key=x, value=x, **options)[0]


@every_kind
@every_size
def test_concatenates_the_branches(kind, attention_dim, conv_dim):
    lsra = build(kind, attention_dim, conv_dim)
    x = torch.randn(T, B, attention_dim + conv_dim, dtype=torch.double)
    long_range, short_range = x[..., :attention_dim], x[..., attention_dim:]
    attended, _ = lsra.attention(long_range, long_range, long_range)
    torch.testing.assert_close(attend(lsra, x), torch.cat([attended, lsra.conv(short_range)], -1))


@every_kind
@every_size
def test_output_does_not_depend_on_what_a_sentence_is_batched_with(kind, attention_dim, conv_dim):
    lsra = build(kind, attention_dim, conv_dim)
    batch = torch.randn(T, B, attention_dim + conv_dim, dtype=torch.double)
    mask = torch.zeros(B, T, dtype=torch.bool)
    mask[0, 4:] = True
    together = attend(lsra, batch, key_padding_mask=mask)
    torch.testing.assert_close(together[:4, :1], attend(lsra, batch[:4, :1]))


@every_kind
@every_size
def test_steps_equal_parallel_also_after_a_reorder(kind, attention_dim, conv_dim):
    lsra = build(kind, attention_dim, conv_dim, causal=True)
    order = torch.tensor([1, 1, 0])
    future = torch.full((T, T), float("-inf"), dtype=torch.double).triu(1)
    x = torch.randn(T, B, attention_dim + conv_dim, dtype=torch.double)
    state = {}
    before = [attend(lsra, column, incremental_state=state) for column in x[:4].split(1)]
    # what fairseq's generator does: every submodule that can reorder does it once
    for module in lsra.modules():
        if hasattr(module, "reorder_incremental_state"):
            module.reorder_incremental_state(state, order)
    after = [attend(lsra, column, incremental_state=state) for column in x[4:].split(1)]

    torch.testing.assert_close(torch.cat(before), attend(lsra, x, attn_mask=future)[:4])
    reordered = torch.cat([x[:4, order], x[4:]])
    torch.testing.assert_close(torch.cat(after), attend(lsra, reordered, attn_mask=future)[4:])


@every_kind
def test_gradients(kind):
    lsra = build(kind, 4, 4)
    x = torch.randn(3, 2, 8, dtype=torch.double, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: attend(lsra, x), x)
