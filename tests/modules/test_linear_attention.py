import itertools

import pytest
import torch
from fairseq.modules import MultiheadAttention

from fairseq_lite.modules import FEATURE_MAPS, LinearAttention
from fairseq_lite.modules.feature_maps import LearnedFeatureMap

C, H, K = 16, 4, 6
MAPS = [*FEATURE_MAPS, "rfa gated"]
LEARNED = [name for name, phi in FEATURE_MAPS.items() if issubclass(phi, LearnedFeatureMap)]


@pytest.fixture(autouse=True)
def double_precision():
    """The sums of random features can cancel, which single precision shows in the quotient."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def attention(name="t2r", causal=True, source_dim=C, **options):
    torch.manual_seed(3)
    inner = MultiheadAttention(
        C, H, kdim=source_dim, vdim=source_dim, self_attention=causal, encoder_decoder_attention=not causal, **options
    )
    feature_map = FEATURE_MAPS[name.split()[0]](H, C // H, K)
    return LinearAttention(inner, feature_map, causal=causal, gate="gated" in name)


def naive(module, query, key, value, seen):
    """The definition, one query and one key after the other; seen: [B, T, S] says which keys a query sees."""

    def heads(x):
        return x.view(*x.shape[:2], H, -1).permute(1, 2, 0, 3)

    q = module.feature_map.queries(heads(module.q_proj(query)) * module.feature_map.query_scale)
    k, v = module.feature_map.keys(heads(module.k_proj(key))), heads(module.v_proj(value))
    out = torch.zeros(q.size(0), H, q.size(2), C // H)
    for b, h, t in itertools.product(*map(range, q.shape[:3])):
        weights = [(q[b, h, t] @ k[b, h, s]) * seen[b, t, s] for s in range(k.size(2))]
        total = sum(weights).clamp(min=module.feature_map.least)
        out[b, h, t] = sum(weight * v[b, h, s] for s, weight in enumerate(weights)) / total
    return module.out_proj(out.permute(2, 0, 1, 3).flatten(2))


def padding(B, S, *lengths):
    mask = torch.zeros(B, S, dtype=torch.bool)
    for b, length in enumerate(lengths):
        mask[b, length:] = True
    return mask


@pytest.mark.parametrize("name", FEATURE_MAPS)
@torch.no_grad()
def test_causal_attention_is_as_defined(name):
    module, x, mask = attention(name), torch.randn(5, 2, C), padding(2, 5, 5, 3)
    seen = torch.ones(5, 5).tril() * ~mask.unsqueeze(1)
    torch.testing.assert_close(module(x, x, x, key_padding_mask=mask)[0], naive(module, x, x, x, seen))


@pytest.mark.parametrize("name", FEATURE_MAPS)
@torch.no_grad()
def test_attention_to_a_source_is_as_defined(name):
    module, x, source = attention(name, False, 10), torch.randn(4, 2, C), torch.randn(5, 2, 10)
    mask = padding(2, 5, 5, 2)
    seen = (~mask).float().unsqueeze(1).expand(2, 4, 5)
    out, weights = module(x, source, source, key_padding_mask=mask)
    torch.testing.assert_close(out, naive(module, x, source, source, seen))
    assert weights is None


@pytest.mark.parametrize("name", MAPS)
@torch.no_grad()
def test_step_by_step_equals_the_whole(name):
    module, x, mask = attention(name), torch.randn(7, 3, C), padding(3, 7, 7, 4, 7)
    mask[2, :2] = True
    whole, state = module(x, x, x, key_padding_mask=mask)[0], {}
    steps = [module(x[t : t + 1], None, None, mask[:, t : t + 1], state)[0] for t in range(7)]
    torch.testing.assert_close(torch.cat(steps), whole)


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("name", FEATURE_MAPS)
@torch.no_grad()
def test_a_sentence_alone_is_as_in_a_batch(name, causal):
    module, x = attention(name, causal), torch.randn(6, 2, C)
    batched = module(x, x, x, key_padding_mask=padding(2, 6, 6, 4))[0]
    alone = module(x[:4, 1:], x[:4, 1:], x[:4, 1:])[0]
    torch.testing.assert_close(batched[:4, 1:], alone)


@torch.no_grad()
def test_the_source_is_summed_once():
    module, x, source = attention(causal=False), torch.randn(3, 2, C), torch.randn(5, 2, C)
    state, whole = {}, module(x, source, source)[0]
    first = module(x[:1], source, source, incremental_state=state, static_kv=True)[0]
    rest = [module(x[t : t + 1], None, None, incremental_state=state, static_kv=True)[0] for t in (1, 2)]
    torch.testing.assert_close(torch.cat([first, *rest]), whole)


@pytest.mark.parametrize("causal", [True, False])
@torch.no_grad()
def test_state_follows_the_beams_and_does_not_grow(causal):
    module, x, order = attention(causal=causal), torch.randn(6, 3, C), torch.tensor([2, 0, 0, 1])
    state, sizes = {}, []
    for t in range(5):
        module(x[t : t + 1], x, x, incremental_state=state)
        sizes.append(sum(tensor.numel() for past in state.values() for tensor in past.values()))
    assert set(sizes) == {3 * H * K * (C // H + 1)}
    module.reorder_incremental_state(state, order)
    reordered = module(x[5:, order], x[:, order], x[:, order], incremental_state=state)[0]
    if causal:
        expected = module(x[:, order], x[:, order], x[:, order])[0][5:]
    else:
        expected = module(x[5:, order], x[:, order], x[:, order])[0]
    torch.testing.assert_close(reordered, expected)


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("name", LEARNED)
@torch.no_grad()
def test_folding_changes_nothing(name, causal):
    module, x = attention(name, causal), torch.randn(6, 3, C)
    for parameter in module.feature_map.parameters():
        torch.nn.init.normal_(parameter)
    before = module(x, x, x)[0]
    module.make_generation_fast_()
    features = module.k_proj.out_features * module.feature_map.features_of_each
    assert module.q_proj.out_features == module.k_proj.out_features and features == H * K
    assert not list(module.feature_map.parameters())
    torch.testing.assert_close(module(x, x, x)[0], before, rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_weights_are_formed_where_generation_asks_for_them():
    module, x, source = attention(causal=False), torch.randn(3, 2, C), torch.randn(5, 2, C)
    module.make_generation_fast_(need_attn=True)
    mask = padding(2, 5, 5, 3)
    out, weights = module(x, source, source, key_padding_mask=mask, need_head_weights=True)
    assert weights.shape == (H, 2, 3, 5) and weights[:, 1, :, 3:].eq(0).all()
    values = module.v_proj(source).view(5, 2, H, -1)
    attended = torch.einsum("hbts,sbhd->tbhd", weights, values).flatten(2)
    torch.testing.assert_close(module.out_proj(attended), out)
    torch.testing.assert_close(module(x, source, source, key_padding_mask=mask)[1], weights.mean(0))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@torch.no_grad()
def test_half_types_do_not_overflow(dtype):
    module, x = attention("elu").to(dtype), 100 * torch.rand(3000, 1, C).to(dtype)
    out = module(x, x, x)[0]
    assert out.dtype == dtype and out.isfinite().all()
    exact = module.float()(x.float(), x.float(), x.float())[0]
    assert (out.float() - exact).norm() < 0.05 * exact.norm()


def test_dropout_falls_on_both_kinds_of_attention():
    for causal in (True, False):
        module, x = attention(causal=causal, dropout=0.5), torch.randn(4, 2, C)
        assert not torch.equal(module(x, x, x)[0], module(x, x, x)[0])
        module.eval()
        assert torch.equal(module(x, x, x)[0], module(x, x, x)[0])


@pytest.mark.parametrize("name", MAPS)
def test_a_gradient_reaches_every_parameter(name):
    module, x = attention(name), torch.randn(6, 2, C)
    module(x, x, x)[0].square().sum().backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in module.parameters())


def test_a_checkpoint_of_softmax_attention_keeps_the_feature_map(caplog):
    module = attention()
    state = {f"layer.{name}": tensor for name, tensor in MultiheadAttention(C, H).state_dict().items()}
    module.upgrade_state_dict_named(state, "layer")
    assert torch.equal(state["layer.feature_map.weight"], module.feature_map.weight)
    assert "layer.feature_map.weight" in caplog.text
    before = dict(state)
    module.upgrade_state_dict_named(state, "layer")
    assert before.keys() == state.keys()
