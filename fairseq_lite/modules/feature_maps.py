"""Feature maps phi, with which linear attention replaces exp(q . k) by phi(q) . phi(k)."""

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor

from fairseq_lite.errors import UserError
from fairseq_lite.modules.pruned_linear import dense


class FeatureMap(nn.Module):
    """A map of every head's queries and keys, x: [B, H, T, d], to k features, [B, H, T, k].

    `query_scale` is what queries are multiplied with before. A subclass may ignore `feature_dim`, the features
    asked for, and says in its own `feature_dim` how many it makes. Raises UserError if `feature_dim` < 1.
    """

    def __init__(self, num_heads: int, head_dim: int, feature_dim: int):
        super().__init__()
        if feature_dim < 1:
            raise UserError(f"feature dimension {feature_dim}: a feature map has at least 1 feature a head")
        self.num_heads = num_heads
        self.head_dim = head_dim
        self.feature_dim = feature_dim
        self.query_scale = 1.0

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


class T2RFeatureMap(FeatureMap):
    """A learned one-layer MLP for each head, relu(W x + b) (Kasai et al., 2021, arXiv 2103.13076, section 2.3)."""

    def __init__(self, num_heads: int, head_dim: int, feature_dim: int):
        super().__init__(num_heads, head_dim, feature_dim)
        self.query_scale = head_dim**-0.5
        self.weight = nn.Parameter(torch.empty(num_heads, feature_dim, head_dim))
        self.bias = nn.Parameter(torch.zeros(num_heads, feature_dim))
        for weight in self.weight:
            nn.init.xavier_uniform_(weight)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(x @ self.weight.transpose(1, 2) + self.bias.unsqueeze(1))

    @torch.no_grad()
    def fold(self, projection: nn.Linear, scale: float) -> nn.Linear:
        """The linear layer that makes W (scale * projection(x)) + b in one go, [..., H * k]."""
        projection = dense(projection)
        folded = nn.Linear(projection.in_features, self.num_heads * self.feature_dim)
        weight = projection.weight.float().view(self.num_heads, self.head_dim, -1)
        folded.weight.copy_((scale * self.weight.float() @ weight).flatten(0, 1))
        bias = self.bias.float()
        if projection.bias is not None:
            bias = bias + scale * torch.einsum(
                "hkd,hd->hk", self.weight.float(), projection.bias.float().view(self.num_heads, self.head_dim)
            )
        folded.bias.copy_(bias.flatten())
        return folded.to(projection.weight)


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


FEATURE_MAPS = {"t2r": T2RFeatureMap, "elu": EluFeatureMap, "rfa": RFAFeatureMap}
