"""Softmax attention in the place of linear attention, from the same projections, and how far the two are apart."""

from contextlib import contextmanager
from typing import Callable, Dict, Iterable, Iterator, Optional, Tuple

import torch
import torch.nn as nn
from torch import Tensor
from torch.autograd.function import once_differentiable

from fairseq_lite.errors import ArgumentError
from fairseq_lite.modules.feature_maps import FeatureMap, in_float32
from fairseq_lite.modules.incremental_state import IncrementalState
from fairseq_lite.modules.linear_attention import LinearAttention

# What log(0) counts as: maps with features of zero give some keys no weight at all.
LEAST_WEIGHT = 1e-6


class SoftmaxAttention(nn.Module):
    """Softmax attention by the projections of a LinearAttention, called as that is, for whole sentences.

    Equals fairseq's MultiheadAttention without attention dropout; a query that sees no key gets zeros instead of NaN.
    """

    def __init__(self, linear: LinearAttention):
        super().__init__()
        self.linear = linear

    def forward(
        self,
        query: Tensor,
        key: Optional[Tensor],
        value: Optional[Tensor],
        key_padding_mask: Optional[Tensor] = None,
        incremental_state: Optional[IncrementalState] = None,
        **unused,
    ) -> Tuple[Tensor, None]:
        """query: [T, B, C], key and value: [S, B, C'], key_padding_mask: [B, S]; returns [T, B, C] and None.

        Raises ValueError for an incremental state, because nothing of the past is kept.
        """
        if incremental_state is not None:
            raise ValueError("SoftmaxAttention: takes whole sentences, no incremental state")
        q, k, v = self._projected(query, key, value)
        hidden = self._hidden(q, k, key_padding_mask)
        weights = self._weights(q, k, hidden)
        self.compare(query, q, k, v, hidden, weights)
        attended = (weights.to(v) @ v).permute(2, 0, 1, 3).flatten(2)
        return self.linear.out_proj(attended), None

    def _get_input_buffer(self, incremental_state: Optional[IncrementalState]) -> Dict[str, Optional[Tensor]]:
        """Nothing, which fairseq's decoder layer asks for."""
        return {}

    def _projected(
        self, query: Tensor, key: Optional[Tensor], value: Optional[Tensor]
    ) -> Tuple[Tensor, Tensor, Tensor]:
        """q, k and v, each [B, H, T, d]."""
        linear = self.linear
        if linear.causal:
            key = value = query
        assert key is not None and value is not None
        projected = linear.q_proj(query), linear.k_proj(key), linear.v_proj(value)
        q, k, v = (linear._heads(x) for x in projected)
        return q, k, v

    def _hidden(self, q: Tensor, k: Tensor, key_padding_mask: Optional[Tensor]) -> Tensor:
        """True where a query does not see a key, [B or 1, 1, T or 1, S]."""
        hidden = torch.zeros(1, 1, 1, k.size(2), dtype=torch.bool, device=k.device)
        if key_padding_mask is not None:
            hidden = key_padding_mask.to(torch.bool)[:, None, None]
        if self.linear.causal:
            hidden = hidden | torch.ones(q.size(2), k.size(2), dtype=torch.bool, device=k.device).triu(1)
        return hidden

    def _weights(self, q: Tensor, k: Tensor, hidden: Tensor) -> Tensor:
        """The weights of softmax attention, [B, H, T, S]."""
        scores = in_float32((q * self.linear.softmax_scale) @ k.transpose(-1, -2))
        return scores.masked_fill(hidden, float("-inf")).softmax(dim=-1).masked_fill(hidden, 0.0)

    def compare(self, x: Tensor, q: Tensor, k: Tensor, v: Tensor, hidden: Tensor, weights: Tensor) -> None:
        """Look at one pass, of which x: [T, B, C] are the queries before they are projected."""


class _KLDivergence(torch.autograd.Function):
    """KL(p || w) over the last axis, with the gradient of w alone: -p / w, which is at hand.

    Autograd would go through all weights three times as often, which is most of what an update of a transfer costs.
    """

    @staticmethod
    def forward(ctx, p: Tensor, w: Tensor) -> Tensor:
        ratio = p / w.clamp(min=LEAST_WEIGHT)
        ctx.save_for_backward(ratio, w)
        # what has no weight adds nothing
        return (p * ratio.clamp(min=torch.finfo(ratio.dtype).tiny).log()).sum(-1)

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient: Tensor) -> Tuple[None, Tensor]:
        ratio, w = ctx.saved_tensors
        return None, (ratio * -gradient.unsqueeze(-1)).masked_fill_(w < LEAST_WEIGHT, 0.0)


def kl_divergence(softmax: Tensor, linear: Tensor, v: Tensor) -> Tensor:
    """KL(softmax || linear) of the weights, [B, H, T, S] each, in nats, the mean over heads: [B, T]."""
    return _KLDivergence.apply(softmax, linear).mean(1)


def relative_squared_error(softmax: Tensor, linear: Tensor, v: Tensor) -> Tensor:
    """Squared error of all heads' outputs over the square of what softmax attention puts out, [B, T]."""
    wanted = softmax @ v
    error, size = (linear @ v - wanted).square().sum((1, 3)), wanted.square().sum((1, 3))
    return error / size.clamp(min=LEAST_WEIGHT)


DISTANCES: Dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {"kl": kl_divergence, "mse": relative_squared_error}


class AttentionTransfer(SoftmaxAttention):
    """Softmax attention that measures how far linear attention is from it (Hedgehog, arXiv 2402.04347, section 4.2).

    After a pass `distance`, [B, T], is that of every query, padding included. Its gradient reaches the weights that
    linear attention adds and nothing else: queries, keys and values count as given.
    """

    def __init__(self, linear: LinearAttention, measure: str):
        super().__init__(linear)
        self.measure = DISTANCES[measure]
        self.distance: Optional[Tensor] = None

    def compare(self, x: Tensor, q: Tensor, k: Tensor, v: Tensor, hidden: Tensor, weights: Tensor) -> None:
        x, q, k, v, weights = (tensor.detach() for tensor in (x, q, k, v, weights))
        with torch.enable_grad():
            self.distance = self.measure(weights, self.linear.weights(q, k, x, hidden), in_float32(v))


def linear_attentions(model: nn.Module) -> Dict[str, LinearAttention]:
    """The linear attention of a model by name, in the order of its modules."""
    return {name: module for name, module in model.named_modules() if isinstance(module, LinearAttention)}


@contextmanager
def softmax_in_place(
    model: nn.Module,
    names: Optional[Iterable[str]] = None,
    make: Callable[[LinearAttention], SoftmaxAttention] = SoftmaxAttention,
) -> Iterator[Dict[str, SoftmaxAttention]]:
    """Within, the named linear attention of a model, all of it by default, is softmax attention of the same weights.

    Yields what stands in for it, by name. Raises ArgumentError for a name that is not one of `linear_attentions`, or
    one whose feature map is folded into its projections, which so give no queries and keys any more.
    """
    linear = linear_attentions(model)
    chosen = list(linear if names is None else names)
    for name in chosen:
        if name not in linear:
            raise ArgumentError("names", name, f"no linear attention; take some of {', '.join(linear) or 'none'}")
        if not isinstance(linear[name].feature_map, FeatureMap):
            raise ArgumentError("names", name, "its feature map is folded already; load the model afresh")
    instead = {name: make(linear[name]) for name in chosen}
    parents = {name: model.get_submodule(name.rpartition(".")[0]) for name in chosen}
    try:
        for name, attention in instead.items():
            setattr(parents[name], name.rpartition(".")[2], attention)
        yield instead
    finally:
        for name in chosen:
            setattr(parents[name], name.rpartition(".")[2], linear[name])
