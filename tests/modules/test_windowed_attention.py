import itertools

import pytest
import torch
from fairseq.modules import MultiheadAttention

from fairseq_lite.errors import UserError
from fairseq_lite.modules import FEATURE_MAPS, WindowedLinearAttention
from fairseq_lite.modules.attention_transfer import SoftmaxAttention

C, H, K = 16, 4, 6
D = C // H


@pytest.fixture(autouse=True)
def double_precision():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def attention(window, **options):
    torch.manual_seed(3)
    inner = MultiheadAttention(C, H, self_attention=True, **options)
    module = WindowedLinearAttention(inner, FEATURE_MAPS["exp"](H, D, K), window)
    for weight in module.feature_map.parameters():
        torch.nn.init.normal_(weight)
    return module


def naive(module, x, padding=None):
    """The definition, one query and one key after the other."""
    q, k, v = (module._heads(projection(x)) for projection in (module.q_proj, module.k_proj, module.v_proj))
    phi = module.feature_map
    features = phi.queries(q), phi.keys(k)
    sums = (q @ phi.query_weight.transpose(1, 2)).exp().sum(-1)
    out = torch.zeros(q.size(0), H, q.size(2), D)
    for b, h, t in itertools.product(*map(range, q.shape[:3])):
        weights = torch.zeros(t + 1)
        for s in range(t + 1):
            recent = s > t - module.window
            if padding is not None and padding[b, s] or module.parts == ("linear" if recent else "window"):
                continue
            if recent:
                weights[s] = (q[b, h, t] @ k[b, h, s] / D**0.5).exp()
            else:
                weights[s] = sums[b, h, t] * (features[0][b, h, t] @ features[1][b, h, s])
        if weights.sum() > 0:
            out[b, h, t] = weights / weights.sum() @ v[b, h, : t + 1]
    return module.out_proj(out.permute(2, 0, 1, 3).flatten(2))


def padded(T):
    """Of three sentences the second is padded on the right and the third on the left."""
    padding = torch.zeros(3, T, dtype=torch.bool)
    padding[1, T - 3 :] = True
    padding[2, :4] = True
    return padding


def step_by_step(module, x, padding=None):
    state = {}
    masks = [None if padding is None else padding[:, t : t + 1] for t in range(len(x))]
    return torch.cat([module(x[t : t + 1], None, None, masks[t], state)[0] for t in range(len(x))])


@pytest.mark.parametrize("parts", ["both", "window", "linear"])
@pytest.mark.parametrize("window", [1, 3, 10, 11])
@torch.no_grad()
def test_is_as_defined_at_once_and_step_by_step(window, parts):
    module, x, padding = attention(window), torch.randn(10, 3, C), padded(10)
    module.parts = parts
    expected = naive(module, x, padding)
    torch.testing.assert_close(module(x, x, x, key_padding_mask=padding)[0], expected)
    torch.testing.assert_close(step_by_step(module, x, padding), expected)


@pytest.mark.parametrize("T", [63, 64, 65, 150])
@pytest.mark.parametrize("window", [1, 16, 64, 100])
@torch.no_grad()
def test_blocks_equal_single_steps_and_parts_of_a_text(window, T):
    module, x = attention(window), torch.randn(T, 1, C)
    whole = module(x, x, x)[0]
    torch.testing.assert_close(step_by_step(module, x), whole)
    state, parts = {}, x.split([40, T - 60, 20] if T > 60 else [T])
    pieces = [module(part, part, part, incremental_state=state)[0] for part in parts]
    torch.testing.assert_close(torch.cat(pieces), whole)


@pytest.mark.parametrize("scale", [1, 30])
@pytest.mark.parametrize("window", [70, 1000])
@torch.no_grad()
def test_a_window_of_the_whole_text_is_softmax_attention(window, scale):
    torch.manual_seed(3)
    softmax = MultiheadAttention(C, H, self_attention=True).eval()
    module = WindowedLinearAttention(softmax, FEATURE_MAPS["exp"](H, D, K), window).eval()
    x, padding = scale * torch.randn(70, 3, C), padded(70)
    padding[2] = False
    mask = torch.full((70, 70), float("-inf")).triu(1)
    expected = softmax(x, x, x, key_padding_mask=padding, attn_mask=mask)[0]
    torch.testing.assert_close(module(x, x, x, key_padding_mask=padding)[0], expected, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(step_by_step(module, x, padding), expected, rtol=1e-6, atol=1e-6)


@torch.no_grad()
def test_a_sentence_alone_is_as_in_a_batch():
    module, x = attention(3), torch.randn(10, 3, C)
    batched = module(x, x, x, key_padding_mask=padded(10))[0]
    for row, kept in ((1, slice(0, 7)), (2, slice(4, 10))):
        alone = x[kept, row : row + 1]
        torch.testing.assert_close(batched[kept, row : row + 1], module(alone, alone, alone)[0])


@pytest.mark.parametrize("before", [2, 7])
@torch.no_grad()
def test_the_window_follows_the_beams_and_is_of_constant_size(before):
    module, x, order = attention(4), torch.randn(12, 3, C), torch.tensor([2, 0, 0, 1])
    state, sizes = {}, []
    for t in range(before):
        module(x[t : t + 1], None, None, incremental_state=state)
        sizes.append(sum(tensor.numel() for past in state.values() for tensor in past.values()))
    assert len(set(sizes[3:])) <= 1
    module.reorder_incremental_state(state, order)
    x = x[:, order]
    reordered = [module(x[t : t + 1], None, None, incremental_state=state)[0] for t in range(before, 12)]
    torch.testing.assert_close(torch.cat(reordered), module(x, x, x)[0][before:])


def test_gradients_are_those_of_the_definition():
    module, x, padding = attention(3), torch.randn(10, 3, C), padded(10)
    wanted = (~padding).t().unsqueeze(-1)
    gradients = []
    for out in (module(x, x, x, key_padding_mask=padding)[0], naive(module, x, padding)):
        gradients.append(torch.autograd.grad((out * wanted).square().sum(), list(module.parameters())))
        assert all(gradient.abs().sum() > 0 for gradient in gradients[-1])
    torch.testing.assert_close(*gradients)


def test_a_gradient_of_large_products_is_finite():
    module, x = attention(3).float(), 300 * torch.randn(80, 2, C).float()
    module(x, x, x)[0].square().sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in module.parameters())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@torch.no_grad()
def test_half_types_do_not_overflow(dtype):
    module, x = attention(16).to(dtype), 10 * torch.rand(2000, 1, C).to(dtype)
    out = module(x, x, x)[0]
    assert out.dtype == dtype and out.isfinite().all()
    exact = module.float()(x.float(), x.float(), x.float())[0]
    assert (out.float() - exact).norm() < 0.05 * exact.norm()


@torch.no_grad()
def test_scripted_equals_eager_and_preparing_for_generation_changes_nothing():
    module, x, padding = attention(3).eval(), torch.randn(10, 3, C), padded(10)
    expected = module(x, x, x, key_padding_mask=padding)[0]
    torch.testing.assert_close(torch.jit.script(module)(x, x, x, key_padding_mask=padding)[0], expected)
    module.make_generation_fast_()
    torch.testing.assert_close(module(x, x, x, key_padding_mask=padding)[0], expected)


@pytest.mark.parametrize("parts", ["both", "window", "linear"])
def test_the_weights_that_transfer_compares_are_those_of_a_pass(parts):
    module, x, padding = attention(3).eval(), torch.randn(10, 3, C), padded(10)
    module.parts = parts
    standin = SoftmaxAttention(module)
    q, k, v = standin._projected(x, x, x)
    weights = module.weights(q, k, x, standin._hidden(q, k, padding))
    out = module.out_proj((weights @ v.masked_fill(padding[:, None, :, None], 0.0)).permute(2, 0, 1, 3).flatten(2))
    torch.testing.assert_close(out, module(x, x, x, key_padding_mask=padding)[0])
    weights.square().sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in module.feature_map.parameters() if parts != "window")


def test_a_window_and_features_start_on_one_scale():
    phi = FEATURE_MAPS["exp"](H, D, 8)
    zero = torch.zeros(1, H, 1, D)
    q, log_scale = phi.queries_and_scale(zero)
    product = log_scale.exp() * (q * phi.keys(zero)).sum(-1)
    torch.testing.assert_close(product, torch.ones(1, H, 1))


def test_what_a_window_needs():
    with pytest.raises(UserError, match="window 0: a window has at least 1 position"):
        attention(0)
    with pytest.raises(UserError, match="feature map T2RFeatureMap: a window needs ExpFeatureMap"):
        WindowedLinearAttention(MultiheadAttention(C, H, self_attention=True), FEATURE_MAPS["t2r"](H, D, K), 3)
