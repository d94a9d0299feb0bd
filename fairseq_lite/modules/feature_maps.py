"""Feature maps phi, with which linear attention replaces exp(q . k) by phi(q) . phi(k)."""

import math
from typing import Tuple

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor

from fairseq_lite.errors import UserError
from fairseq_lite.modules.pruned_linear import dense

LARGEST_EXPONENT = 30.0


def in_float32(x: Tensor) -> Tensor:
    """At least float32: sums over a long text leave the range or the precision of half types."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


class FeatureMap(nn.Module):
    """A map of every head's queries and keys, x: [B, H, T, d], to k features, [B, H, T, k].

    `query_scale` is what queries are multiplied with before, `least` what a denominator counts as if it is less. A
    subclass may ignore `feature_dim`, the features asked for, and says in its own `feature_dim` how many it makes.
    Raises UserError if `feature_dim` < 1.
    """

    # As in the T2R authors' code.
    least = 1e-2

    def __init__(self, num_heads: int, head_dim: int, feature_dim: int):
        super().__init__()
        if feature_dim < 1:
            raise UserError(f"feature dimension {feature_dim}: a feature map has at least 1 feature a head")
        self.num_heads = num_heads
        self.head_dim = head_dim
        self.feature_dim = feature_dim
        self.query_scale = 1.0

    def queries(self, x: Tensor) -> Tensor:
        """phi of scaled queries, [B, H, T, d] to [B, H, T, k]."""
        return self(x)

    def keys(self, x: Tensor) -> Tensor:
        """phi of keys, [B, H, T, d] to [B, H, T, k]."""
        return self(x)

    @torch.jit.unused
    def fold_into(self, attention: nn.Module) -> None:
        """Move what can be into the projections of `attention` to queries and keys; nothing, unless it is learned."""

    def for_heads_of(self, head_dim: int) -> "FeatureMap":
        """The same map with new weights for heads of another width, which pruning left; itself for the present one.

        Queries keep their scale, as the heads' products keep their size: what was pruned added zeros to them.
        """
        if head_dim == self.head_dim:
            return self
        fitted = type(self)(self.num_heads, head_dim, self.feature_dim)
        fitted.query_scale = self.query_scale
        return fitted

    def extra_repr(self) -> str:
        return f"num_heads={self.num_heads}, head_dim={self.head_dim}, feature_dim={self.feature_dim}"


class Activation(nn.Module):
    """What turns affine projections of queries and keys, z: [..., m], into features, [..., k]; has no weights.

    It is all that is left of a learned map when its weights are folded into the projections.
    """

    # k / m
    features_of_each = 1

    def queries(self, z: Tensor) -> Tensor:
        """phi of queries, [..., m] to [..., k]; up to a factor for each query, which the quotient takes out."""
        return self(z)

    def keys(self, z: Tensor) -> Tensor:
        """phi of keys, [..., m] to [..., k]."""
        return self(z)


class ReLU(Activation):
    """relu(z)."""

    def forward(self, z: Tensor) -> Tensor:
        return torch.relu(z)


class Exp(Activation):
    """exp(z), of queries divided by the sum of their features, of keys at most exp(30)."""

    # Of more, the sums of a long text would leave the range of float32.
    def __init__(self, largest: float = LARGEST_EXPONENT):
        super().__init__()
        self.largest = largest

    def queries(self, z: Tensor) -> Tensor:
        return in_float32(z).softmax(dim=-1)

    def keys(self, z: Tensor) -> Tensor:
        return in_float32(z).clamp(max=self.largest).exp()


class TwoSoftmaxes(Activation):
    """softmax(z) beside softmax(-z)."""

    features_of_each = 2

    def forward(self, z: Tensor) -> Tensor:
        z = in_float32(z)
        return torch.cat([z.softmax(dim=-1), (-z).softmax(dim=-1)], dim=-1)


class LearnedFeatureMap(FeatureMap):
    """sigma(W x + b) in each head; a subclass has the weights, and names sigma by `make_activation`."""

    make_activation = ReLU

    def __init__(self, num_heads: int, head_dim: int, feature_dim: int):
        super().__init__(num_heads, head_dim, feature_dim)
        self.activation = self.make_activation()

    def query_affine(self) -> Tuple[Tensor, Tensor]:
        """W: [H, m, d] and b: [H, m] of queries."""
        raise NotImplementedError

    def key_affine(self) -> Tuple[Tensor, Tensor]:
        """W: [H, m, d] and b: [H, m] of keys."""
        raise NotImplementedError

    def queries(self, x: Tensor) -> Tensor:
        weight, bias = self.query_affine()
        return self.activation.queries(x @ weight.transpose(1, 2) + bias.unsqueeze(1))

    def keys(self, x: Tensor) -> Tensor:
        weight, bias = self.key_affine()
        return self.activation.keys(x @ weight.transpose(1, 2) + bias.unsqueeze(1))

    @torch.jit.unused
    def fold_into(self, attention: nn.Module) -> None:
        """Let the projections make W q + b and W k + b in one go; q and k are never formed (T2R, section 2.3)."""
        attention.q_proj = folded(attention.q_proj, attention.query_scale, *self.query_affine())
        attention.k_proj = folded(attention.k_proj, 1.0, *self.key_affine())
        attention.feature_map = self.activation
        attention.query_scale = 1.0


@torch.no_grad()
def folded(projection: nn.Linear, scale: float, weight: Tensor, bias: Tensor) -> nn.Linear:
    """The linear layer that makes W (scale * projection(x)) + b in one go, [..., H * m].

    Args:
        weight: W of each head, [H, m, d]
        bias: b of each head, [H, m]
    """
    projection = dense(projection)
    heads, features, width = weight.shape
    weight, bias = weight.float(), bias.float()
    joined = nn.Linear(projection.in_features, heads * features)
    joined.weight.copy_((scale * weight @ projection.weight.float().view(heads, width, -1)).flatten(0, 1))
    if projection.bias is not None:
        bias = bias + scale * torch.einsum("hkd,hd->hk", weight, projection.bias.float().view(heads, width))
    joined.bias.copy_(bias.flatten())
    return joined.to(projection.weight)


class T2RFeatureMap(LearnedFeatureMap):
    """A one-layer MLP for each head, relu(W x + b), of queries as of keys (arXiv 2103.13076, section 2.3)."""

    def __init__(self, num_heads: int, head_dim: int, feature_dim: int):
        super().__init__(num_heads, head_dim, feature_dim)
        self.query_scale = head_dim**-0.5
        self.weight = nn.Parameter(torch.empty(num_heads, feature_dim, head_dim))
        self.bias = nn.Parameter(torch.zeros(num_heads, feature_dim))
        for weight in self.weight:
            nn.init.xavier_uniform_(weight)

    def query_affine(self) -> Tuple[Tensor, Tensor]:
        return self.weight, self.bias

    def key_affine(self) -> Tuple[Tensor, Tensor]:
        return self.weight, self.bias


def signed_channels(features: int, channels: int) -> Tensor:
    """[features, channels]: the unit vectors, their negatives, then random orthogonal bases in the same way."""
    blocks = [torch.eye(channels), -torch.eye(channels)]
    while len(blocks) * channels < features:
        basis = nn.init.orthogonal_(torch.empty(channels, channels))
        blocks += [basis, -basis]
    return torch.cat(blocks)[:features]


class ExpFeatureMap(LearnedFeatureMap):
    """exp(W_q q) of queries and exp(W_k k + b) of keys, positive features whose keys can be loud or faint.

    W starts as [1; -1] d^-1/4 and b as -log(k), so that phi(0) . phi(0) is the 1 of softmax attention's exp(0). After
    positive features (Choromanski et al., 2021, arXiv 2009.14794) and Hedgehog (2402.04347), of which it keeps the
    learned W without the softmax.
    """

    make_activation = Exp
    # A query's features add up to 1, so that all keys together can be far less than T2R's floor.
    least = 1e-6

    def __init__(self, num_heads: int, head_dim: int, feature_dim: int):
        super().__init__(num_heads, head_dim, feature_dim)
        start = signed_channels(feature_dim, head_dim) * head_dim**-0.25
        self.query_weight = nn.Parameter(start.repeat(num_heads, 1, 1))
        self.key_weight = nn.Parameter(start.repeat(num_heads, 1, 1))
        self.key_bias = nn.Parameter(torch.full((num_heads, feature_dim), -math.log(feature_dim)))

    def query_affine(self) -> Tuple[Tensor, Tensor]:
        return self.query_weight, torch.zeros_like(self.key_bias)

    def queries_and_scale(self, x: Tensor) -> Tuple[Tensor, Tensor]:
        """`queries` of x: [B, H, T, d], and the logarithm of what they were divided by, [B, H, T]."""
        z = in_float32(x @ self.query_weight.transpose(1, 2))
        return self.activation.queries(z), z.logsumexp(dim=-1)

    def key_affine(self) -> Tuple[Tensor, Tensor]:
        return self.key_weight, self.key_bias

    @torch.no_grad()
    def for_heads_of(self, head_dim: int) -> "FeatureMap":
        fitted = super().for_heads_of(head_dim)
        if fitted is not self:
            for weight in (fitted.query_weight, fitted.key_weight):
                weight.mul_((head_dim / self.head_dim) ** 0.25)
        return fitted


class HedgehogFeatureMap(LearnedFeatureMap):
    """[softmax(W x), softmax(-W x)] with a W for queries and one for keys (Zhang et al., 2024, arXiv 2402.04347).

    W starts as the identity. Raises UserError if `feature_dim` is odd.
    """

    make_activation = TwoSoftmaxes
    least = 1e-6

    def __init__(self, num_heads: int, head_dim: int, feature_dim: int):
        super().__init__(num_heads, head_dim, feature_dim)
        if feature_dim % 2:
            raise UserError(f"feature dimension {feature_dim}: hedgehog makes pairs of features; give an even number")
        start = signed_channels(feature_dim // 2, head_dim)
        self.query_weight = nn.Parameter(start.repeat(num_heads, 1, 1))
        self.key_weight = nn.Parameter(start.repeat(num_heads, 1, 1))

    def query_affine(self) -> Tuple[Tensor, Tensor]:
        return self.query_weight, torch.zeros_like(self.query_weight[:, :, 0])

    def key_affine(self) -> Tuple[Tensor, Tensor]:
        return self.key_weight, torch.zeros_like(self.key_weight[:, :, 0])


class EluFeatureMap(FeatureMap):
    """elu(x) + 1, without parameters and with k = d (Katharopoulos et al., 2020, arXiv 2006.16236)."""

    def __init__(self, num_heads: int, head_dim: int, feature_dim: int):
        super().__init__(num_heads, head_dim, feature_dim)
        self.feature_dim = head_dim

    def forward(self, x: Tensor) -> Tensor:
        return F.elu(x) + 1


class RFAFeatureMap(FeatureMap):
    """Random Fourier features of the Gaussian kernel on unit vectors (Peng et al., 2021, arXiv 2103.02143).

    sqrt(2/k) [sin(w_i . x), cos(w_i . x)] for i = 1 ... k/2, with w_i = sigma * w~_i; sigma, one number a channel,
    is learned and w~_i drawn once from a standard normal distribution. Raises UserError if `feature_dim` is odd.
    """

    def __init__(self, num_heads: int, head_dim: int, feature_dim: int):
        super().__init__(num_heads, head_dim, feature_dim)
        if feature_dim % 2:
            raise UserError(f"feature dimension {feature_dim}: rfa makes pairs of features; give an even number")
        self.sigma = nn.Parameter(torch.ones(num_heads, 1, head_dim))
        self.register_buffer("directions", torch.randn(num_heads, feature_dim // 2, head_dim))

    def forward(self, x: Tensor) -> Tensor:
        angles = F.normalize(x, dim=-1) @ (self.sigma * self.directions).transpose(1, 2)
        return torch.cat([angles.sin(), angles.cos()], dim=-1) * (2 / self.feature_dim) ** 0.5


FEATURE_MAPS = {
    "t2r": T2RFeatureMap,
    "exp": ExpFeatureMap,
    "hedgehog": HedgehogFeatureMap,
    "elu": EluFeatureMap,
    "rfa": RFAFeatureMap,
}
# Those whose features come in pairs.
PAIRED = ("rfa", "hedgehog")
