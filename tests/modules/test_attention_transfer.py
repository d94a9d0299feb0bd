import copy

import pytest
import torch
from fairseq.modules import MultiheadAttention
from torch import nn

from fairseq_lite.errors import ArgumentError
from fairseq_lite.models.pruned import narrow
from fairseq_lite.modules import FEATURE_MAPS, LSRA, LinearAttention
from fairseq_lite.modules.attention_transfer import (
    DISTANCES,
    LEAST_WEIGHT,
    AttentionTransfer,
    SoftmaxAttention,
    linear_attentions,
    softmax_in_place,
)
from fairseq_lite.modules.pruned_linear import Widths

C, H, K, B = 16, 4, 6, 3
KINDS = ("causal", "cross", "encoder")
LEARNED = [name for name in FEATURE_MAPS if name != "elu"]


@pytest.fixture(autouse=True)
def double_precision():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def pair(kind, name="exp", **options):
    """fairseq's attention, and a linear one of copies of its projections."""
    torch.manual_seed(3)
    cross = kind == "cross"
    source_dim = 10 if cross else C
    softmax = MultiheadAttention(
        C, H, kdim=source_dim, vdim=source_dim, self_attention=not cross, encoder_decoder_attention=cross, dropout=0.3
    ).eval()
    for projection in (softmax.q_proj, softmax.k_proj, softmax.v_proj, softmax.out_proj):
        nn.init.normal_(projection.weight, std=0.5)
        nn.init.normal_(projection.bias)
    linear = LinearAttention(
        copy.deepcopy(softmax), FEATURE_MAPS[name](H, C // H, K), causal=kind == "causal", **options
    )
    return softmax, linear


def inputs(kind, padded=False):
    """The arguments of a call on sentences of 5, 3 and 4 keys."""
    torch.manual_seed(4)
    x = torch.randn(5, B, C)
    memory = torch.randn(5, B, 10) if kind == "cross" else x
    mask = torch.zeros(B, 5, dtype=torch.bool)
    mask[1, 3:], mask[2, 4:] = True, True
    attn_mask = torch.full((5, 5), float("-inf")).triu(1) if kind == "causal" else None
    return (x, memory, memory), {"key_padding_mask": mask if padded else None, "attn_mask": attn_mask}


@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("measure", [None, *DISTANCES])
def test_the_output_is_that_of_fairseqs_attention(kind, padded, measure):
    softmax, linear = pair(kind)
    standin = (SoftmaxAttention(linear) if measure is None else AttentionTransfer(linear, measure)).train()
    arguments, options = inputs(kind, padded)
    out, weights = standin(*arguments, **options)
    torch.testing.assert_close(out, softmax(*arguments, **options)[0], rtol=1e-6, atol=1e-6)
    assert weights is None


@pytest.mark.parametrize("kind", KINDS)
def test_heads_that_pruning_left_keep_their_scale(kind):
    softmax, linear = pair(kind)
    arguments, options = inputs(kind)
    source_dim, few = arguments[1].size(-1), 2 * H
    for attention in (softmax, linear):
        widths = {"q_proj": (C, few), "k_proj": (source_dim, few), "v_proj": (source_dim, few), "out_proj": (few, C)}
        widths = {name: Widths(size[0], size[0], size[1], size[1]) for name, size in widths.items()}
        narrow(attention, widths)
        torch.manual_seed(5)
        for name in widths:
            nn.init.normal_(getattr(attention, name).weight)
            nn.init.normal_(getattr(attention, name).bias)
    out, _ = AttentionTransfer(linear, "kl")(*arguments, **options)
    # fairseq takes the softmax in single precision here.
    torch.testing.assert_close(out, softmax(*arguments, **options)[0], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", [*LEARNED, "rfa gated"])
def test_the_weights_are_those_of_a_linear_pass(name):
    for kind in KINDS if "gated" not in name else ["causal"]:
        _, linear = pair(kind, name.split()[0], gate="gated" in name)
        linear.eval()
        standin = SoftmaxAttention(linear)
        arguments, options = inputs(kind, padded=True)
        q, k, v = standin._projected(*arguments)
        weights = linear.weights(q, k, arguments[0], standin._hidden(q, k, options["key_padding_mask"]))
        out = linear.out_proj((weights @ v).permute(2, 0, 1, 3).flatten(2))
        torch.testing.assert_close(out, linear(*arguments, **options)[0])


def model():
    """Three sublayers in the places where a model has them."""
    inner = [pair(kind)[1] for kind in KINDS]
    cross, encoder = (nn.ModuleDict({"attn": attention}) for attention in inner[1:])
    return nn.ModuleDict({"layers": nn.ModuleList([LSRA(inner[0], nn.Identity()), cross]), "encoder": encoder})


def test_chosen_sublayers_are_softmax_within():
    whole = model()
    before = linear_attentions(whole)
    assert list(before) == ["layers.0.attention", "layers.1.attn", "encoder.attn"]
    parameters = list(whole.parameters())
    with softmax_in_place(whole, ["layers.1.attn"]) as instead:
        assert isinstance(whole["layers"][1]["attn"], SoftmaxAttention) and list(instead) == ["layers.1.attn"]
        assert whole["layers"][0].attention is before["layers.0.attention"]
    with pytest.raises(ZeroDivisionError), softmax_in_place(whole):
        assert isinstance(whole["layers"][0].attention, SoftmaxAttention)
        assert {id(p) for p in whole.parameters()} == {id(p) for p in parameters}
        raise ZeroDivisionError
    assert linear_attentions(whole) == before


def test_what_cannot_be_softmax():
    whole = model()
    wrong = "names layers.2: no linear attention; take some of layers.0.attention,"
    with pytest.raises(ArgumentError, match=wrong), softmax_in_place(whole, ["layers.2"]):
        pass
    whole["encoder"]["attn"].make_generation_fast_()
    folded = "names encoder.attn: its feature map is folded"
    with pytest.raises(ArgumentError, match=folded), softmax_in_place(whole):
        pass
    with pytest.raises(ValueError, match="no incremental state"):
        SoftmaxAttention(pair("causal")[1])(*inputs("causal")[0], incremental_state={})


@pytest.mark.parametrize("kind", KINDS)
def test_the_distances_by_hand(kind):
    softmax, linear = pair(kind)
    arguments, options = inputs(kind, padded=True)
    standins = {measure: AttentionTransfer(linear, measure) for measure in DISTANCES}
    for standin in standins.values():
        standin(*arguments, **options)
    q, k, v = standins["kl"]._projected(*arguments)
    _, weights = softmax(*arguments, **options, need_head_weights=True)
    features = linear.feature_map.queries(q), linear.feature_map.keys(k)
    for b, t in ((0, 4), (1, 2), (2, 0)):
        seen = [s for s in range(5) if not (options["key_padding_mask"][b, s] or kind == "causal" and s > t)]
        kl, error, size = 0.0, 0.0, 0.0
        for h in range(H):
            scores = torch.stack([q[b, h, t] @ k[b, h, s] / (C // H) ** 0.5 for s in seen])
            products = torch.stack([features[0][b, h, t] @ features[1][b, h, s] for s in seen])
            p, w = scores.softmax(0), products / products.sum()
            kl += (p * (p / w).log()).sum() / H
            error += (((w - p).unsqueeze(1) * v[b, h, seen]).sum(0) ** 2).sum()
            size += ((p.unsqueeze(1) * v[b, h, seen]).sum(0) ** 2).sum()
        torch.testing.assert_close(standins["kl"].distance[b, t], kl)
        torch.testing.assert_close(standins["mse"].distance[b, t], error / size)


@pytest.mark.parametrize("measure", DISTANCES)
@pytest.mark.parametrize("name", [*LEARNED, "rfa gated"])
def test_only_what_linear_attention_adds_has_a_gradient(name, measure):
    _, linear = pair("causal", name.split()[0], gate="gated" in name)
    x = torch.randn(5, B, C, requires_grad=True)
    standin = AttentionTransfer(linear, measure)
    with torch.no_grad():
        standin(x, x, x)
    standin.distance.sum().backward()
    assert x.grad is None
    added = linear.new_state()
    for key, parameter in linear.named_parameters():
        assert (parameter.grad is not None) == (key in added), key
        assert parameter.grad is None or parameter.grad.isfinite().all()


@pytest.mark.parametrize("measure", DISTANCES)
@pytest.mark.parametrize("name", LEARNED)
def test_a_query_that_sees_no_key_makes_no_nan(name, measure):
    _, linear = pair("causal", name)
    (x, *_), _ = inputs("causal")
    mask = torch.zeros(B, 5, dtype=torch.bool)
    mask[0], mask[1, :2] = True, True
    standin = AttentionTransfer(linear, measure)
    out, _ = standin(x, x, x, key_padding_mask=mask)
    standin.distance.sum().backward()
    assert out.isfinite().all() and standin.distance.isfinite().all()
    assert all(p.grad is None or p.grad.isfinite().all() for p in linear.parameters())


@pytest.mark.parametrize("measure", DISTANCES)
@pytest.mark.parametrize("kind", KINDS)
def test_a_sentence_alone_has_the_distance_that_it_has_in_a_batch(kind, measure):
    _, linear = pair(kind)
    (x, memory, _), options = inputs(kind, padded=True)
    standin = AttentionTransfer(linear, measure)
    standin(x, memory, memory, **options)
    together = standin.distance
    for b, length in enumerate((5, 3, 4)):
        alone = memory[:length, b : b + 1]
        query = x[:, b : b + 1] if kind == "cross" else alone
        standin(query, alone, alone)
        torch.testing.assert_close(together[b, : len(query)], standin.distance[0])


@pytest.mark.parametrize("measure", DISTANCES)
def test_half_types_give_a_distance_in_float32(measure):
    _, linear = pair("causal")
    linear, x = linear.bfloat16(), inputs("causal")[0][0].bfloat16()
    standin = AttentionTransfer(linear, measure)
    out, _ = standin(x, x, x)
    assert out.dtype == torch.bfloat16 and standin.distance.dtype == torch.float32


def test_the_divergence_and_its_gradient_by_their_definition():
    p, w = (torch.rand(2, H, 3, 5).softmax(-1) for _ in range(2))
    p[..., -1], w[..., 0] = 0.0, 1e-9
    w.requires_grad_()
    naive = (torch.special.xlogy(p, p) - p * w.clamp(min=LEAST_WEIGHT).log()).sum(-1).mean(1)
    found = DISTANCES["kl"](p, w, None)
    torch.testing.assert_close(found, naive)
    gradients = [torch.autograd.grad(distance.square().sum(), w)[0] for distance in (found, naive)]
    torch.testing.assert_close(*gradients)
