import pytest
import torch
import torch.nn.functional as F

from fairseq_lite.errors import UserError
from fairseq_lite.modules import CONVOLUTIONS
from fairseq_lite.modules.depthwise_conv import depthwise_conv_naive

T, B, C, H = 9, 3, 12, 4

every_kind = pytest.mark.parametrize("kind", CONVOLUTIONS)
every_gate = pytest.mark.parametrize("glu", [False, True])


def build(kind, kernel_size=5, **options):
    return CONVOLUTIONS[kind](C, kernel_size, H, **options).double().eval()


@every_kind
@every_gate
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("kernel_size", [1, 4, 5, 20])
def test_is_linear_gate_convolution_linear(kind, glu, causal, kernel_size):
    conv = build(kind, kernel_size, glu=glu, causal=causal)
    x = torch.randn(T, B, C, dtype=torch.double)
    hidden = conv.linear1(x)
    if glu:
        value, gate = hidden.chunk(2, dim=-1)
        hidden = value * gate.sigmoid()
    if kind == "lightweight":
        taps = conv.weight.view(H, kernel_size)
    else:
        taps = F.linear(hidden, conv.weight_linear.weight).view(T, B, H, kernel_size)
    left = kernel_size - 1 if causal else (kernel_size - 1) // 2
    expected = conv.linear2(depthwise_conv_naive(hidden, taps.softmax(dim=-1), left))
    torch.testing.assert_close(conv(x), expected)


@every_kind
@every_gate
def test_output_does_not_depend_on_what_a_sentence_is_batched_with(kind, glu):
    conv = build(kind, glu=glu)
    sentence = torch.randn(4, 1, C, dtype=torch.double)
    batch = torch.randn(T, B, C, dtype=torch.double)
    batch[:4, :1] = sentence
    mask = torch.zeros(B, T, dtype=torch.bool)
    mask[0, 4:] = True
    torch.testing.assert_close(conv(batch, mask)[:4, :1], conv(sentence))


@every_kind
@pytest.mark.parametrize("kernel_size", [1, 5, 20])
def test_steps_equal_parallel(kind, kernel_size):
    conv = build(kind, kernel_size, causal=True)
    x = torch.randn(T, B, C, dtype=torch.double)
    state = {}
    steps = torch.cat([conv(column, incremental_state=state) for column in x.split(1)])
    torch.testing.assert_close(steps, conv(x))


@every_kind
def test_several_columns_in_a_step_equal_parallel(kind):
    conv = build(kind, causal=True)
    x = torch.randn(T, B, C, dtype=torch.double)
    state = {}
    steps = torch.cat([conv(columns, incremental_state=state) for columns in x.split([4, 1, 4])])
    torch.testing.assert_close(steps, conv(x))


@every_kind
def test_remembers_only_the_columns_that_the_kernel_reaches(kind):
    conv = build(kind, kernel_size=5, causal=True)
    state = {}
    for column in torch.randn(T, B, C, dtype=torch.double).split(1):
        conv(column, incremental_state=state)
    assert conv.past_columns(state).shape == (4, B, C)


@every_kind
def test_memory_follows_the_beams(kind):
    conv = build(kind, causal=True)
    order = torch.tensor([2, 0, 0])
    x = torch.randn(T, B, C, dtype=torch.double)
    state = {}
    for column in x[:-1].split(1):
        conv(column, incremental_state=state)
    conv.reorder_incremental_state(state, order)
    reordered = torch.cat([x[:-1, order], x[-1:]])
    torch.testing.assert_close(conv(x[-1:], incremental_state=state), conv(reordered)[-1:])


@every_kind
@every_gate
def test_gradients(kind, glu):
    conv = build(kind, kernel_size=3, glu=glu)
    x = torch.randn(4, 2, C, dtype=torch.double, requires_grad=True)
    mask = torch.zeros(2, 4, dtype=torch.bool)
    mask[1, 3] = True
    assert torch.autograd.gradcheck(lambda x: conv(x, mask), x)


def test_dropout_drops_whole_taps_of_a_shared_kernel():
    conv = build("lightweight", kernel_size=3, causal=True, weight_dropout=0.5).train()
    taps = conv.taps(torch.zeros(T, B, C))
    assert taps.shape == (H, 3)
    assert (taps == 0).any()
    kept = taps != 0
    torch.testing.assert_close(taps[kept], 2 * conv.weight.squeeze(1).softmax(-1)[kept])


def test_heads_must_divide_the_channels():
    with pytest.raises(UserError, match="5 heads do not divide .* 12 channels"):
        CONVOLUTIONS["lightweight"](12, 3, 5)


def test_a_kernel_has_a_tap():
    with pytest.raises(UserError, match="kernel size: 0"):
        CONVOLUTIONS["dynamic"](12, 0, 4)
