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
    torch.testing.assert_close(phi(x), expected)
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


@pytest.mark.parametrize("name, feature_dim", [("t2r", 0), ("elu", 0), ("rfa", 0), ("rfa", 5)])
def test_impossible_sizes(name, feature_dim):
    with pytest.raises(UserError, match=f"feature dimension {feature_dim}"):
        FEATURE_MAPS[name](H, D, feature_dim)


def test_folding_spares_the_projection():
    phi, projection = FEATURE_MAPS["t2r"](H, D, K), torch.nn.Linear(7, H * D)
    torch.nn.init.normal_(phi.bias)
    x = torch.randn(5, 3, 7)
    heads = (0.5 * projection(x)).view(5, 3, H, D).permute(1, 2, 0, 3)
    folded = torch.relu(phi.fold(projection, 0.5)(x)).view(5, 3, H, K).permute(1, 2, 0, 3)
    torch.testing.assert_close(folded, phi(heads), rtol=1e-5, atol=1e-6)
