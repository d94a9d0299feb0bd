import pytest
import torch

from fairseq_lite.errors import UserError
from fairseq_lite.modules import FEATURE_MAPS

H, D, K = 2, 6, 4


def test_t2r_is_a_relu_layer_a_head():
    phi = FEATURE_MAPS["t2r"](H, D, K)
    torch.nn.init.normal_(phi.bias)
    x = torch.randn(3, H, 5, D)
    expected = torch.relu(torch.einsum("hkd,bhtd->bhtk", phi.weight, x) + phi.bias[:, None])
    torch.testing.assert_close(phi.queries(x), expected)
    torch.testing.assert_close(phi.keys(x), expected)
    assert sum(p.numel() for p in phi.parameters()) == H * K * (D + 1)


def test_elu_has_no_parameters_and_keeps_the_width():
    phi = FEATURE_MAPS["elu"](H, D, K)
    assert phi.feature_dim == D and not list(phi.parameters())
    x = torch.randn(3, H, 5, D)
    torch.testing.assert_close(phi(x), torch.where(x > 0, x + 1, x.exp()))


def test_rfa_approaches_the_gaussian_kernel():
    torch.manual_seed(1)
    phi = FEATURE_MAPS["rfa"](H, D, 20000)
    x = torch.nn.functional.normalize(torch.randn(1, H, 5, D), dim=-1)
    kernel = torch.exp(-(torch.cdist(x, x) ** 2) / 2)
    torch.testing.assert_close(phi(3 * x) @ phi(x).transpose(-1, -2), kernel, rtol=0, atol=0.05)


def test_rfa_learns_sigma_alone():
    phi = FEATURE_MAPS["rfa"](H, D, K)
    assert [name for name, _ in phi.named_parameters()] == ["sigma"]
    assert "directions" in phi.state_dict()


def test_exp_is_an_exponential_of_its_own_for_queries_and_keys():
    phi = FEATURE_MAPS["exp"](H, D, K)
    for parameter in phi.parameters():
        torch.nn.init.normal_(parameter)
    x = torch.randn(3, H, 5, D)
    queries = torch.einsum("hkd,bhtd->bhtk", phi.query_weight, x).exp()
    torch.testing.assert_close(phi.queries(x), queries / queries.sum(-1, keepdim=True))
    keys = (torch.einsum("hkd,bhtd->bhtk", phi.key_weight, x) + phi.key_bias[:, None]).exp()
    torch.testing.assert_close(phi.keys(x), keys)


def test_exp_starts_at_the_scale_of_softmax_attention():
    phi, nothing = FEATURE_MAPS["exp"](H, D, 2 * D), torch.zeros(1, H, 1, D)
    unscaled = phi.queries(nothing) * 2 * D
    torch.testing.assert_close((unscaled * phi.keys(nothing)).sum(-1), torch.ones(1, H, 1))
    both_signs = torch.cat([torch.eye(D), -torch.eye(D)]) * D**-0.25
    torch.testing.assert_close(phi.query_weight, both_signs.expand(H, -1, -1))
    torch.testing.assert_close(phi.key_weight, phi.query_weight)


def test_exp_of_more_features_than_signed_channels_has_no_direction_twice():
    rows = FEATURE_MAPS["exp"](1, D, 5 * D).query_weight[0].detach()
    products = torch.nn.functional.normalize(rows, dim=1) @ torch.nn.functional.normalize(rows, dim=1).T
    assert (products - torch.eye(5 * D)).max() < 0.999


def test_exp_of_huge_keys_is_finite():
    phi, x = FEATURE_MAPS["exp"](H, D, 2 * D), torch.full((1, H, 3, D), 1e4)
    assert phi.keys(x).sum(2).isfinite().all() and phi.queries(x).isfinite().all()


def test_hedgehog_is_a_softmax_of_either_sign():
    phi = FEATURE_MAPS["hedgehog"](H, D, 2 * D)
    x = torch.randn(3, H, 5, D)
    torch.testing.assert_close(phi.keys(x), torch.cat([x.softmax(-1), (-x).softmax(-1)], -1))
    torch.nn.init.normal_(phi.query_weight)
    z = torch.einsum("hkd,bhtd->bhtk", phi.query_weight, x)
    torch.testing.assert_close(phi.queries(x), torch.cat([z.softmax(-1), (-z).softmax(-1)], -1))


@pytest.mark.parametrize("name", ["exp", "hedgehog"])
def test_a_map_of_narrower_heads_starts_with_the_products_of_the_whole_ones(name):
    whole = FEATURE_MAPS[name](H, D, 4)
    narrow = whole.for_heads_of(D - 2)
    torch.testing.assert_close(narrow.query_weight, whole.query_weight[:, :, : D - 2])
    assert whole.for_heads_of(D) is whole


@pytest.mark.parametrize("name, feature_dim", [*((name, 0) for name in FEATURE_MAPS), ("rfa", 5), ("hedgehog", 5)])
def test_impossible_sizes(name, feature_dim):
    with pytest.raises(UserError, match=f"feature dimension {feature_dim}"):
        FEATURE_MAPS[name](H, D, feature_dim)
