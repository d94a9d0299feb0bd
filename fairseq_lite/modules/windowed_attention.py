"""Causal attention that is softmax attention to the last positions and linear to all older ones."""

import math
from typing import Dict, NamedTuple, Optional, Tuple

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor

from fairseq_lite.errors import UserError
from fairseq_lite.modules.causal_product import CHUNK, Sums, causal_product
from fairseq_lite.modules.feature_maps import ExpFeatureMap, in_float32
from fairseq_lite.modules.incremental_state import IncrementalState
from fairseq_lite.modules.linear_attention import LinearAttention

# A sum of weights below it is that of no key at all.
LEAST_SUM = 1e-30
PARTS = ("both", "window", "linear")


class Recent(NamedTuple):
    """Positions in order: k and v: [B, H, T, d], v zero on padding, and padding: [B, T], bool."""

    k: Tensor
    v: Tensor
    padding: Tensor


def last(x: Recent, count: int) -> Recent:
    """The last `count` positions, or all if there are fewer."""
    first = max(0, x.k.size(2) - count)
    return Recent(x.k[:, :, first:], x.v[:, :, first:], x.padding[:, first:])


def window_scores(q: Tensor, keys: Recent, window: int, block: int = CHUNK) -> Tuple[Tensor, Tensor]:
    """q . k of each query and the last `window` keys, in blocks of at least `block` queries, with their values.

    q: [B, H, T, d], the queries of the last T keys. Returns scores: [B, H, N, L, L + window - 1] of N blocks of L
    queries, minus infinity for keys that a query does not see, and values: [B, H, N, L + window - 1, d]. Linear in T.
    """
    T = q.size(2)
    if T == 1:
        recent = last(keys, window)
        scores = (q @ recent.k.transpose(-1, -2)).masked_fill(recent.padding[:, None, None], float("-inf"))
        return scores.unsqueeze(3), recent.v.unsqueeze(2)
    size = min(max(block, window), T)
    width = size + window - 1
    after = -T % size
    keys = last(keys, T + window - 1)
    before = T + window - 1 - keys.k.size(2)
    k = F.pad(keys.k, (0, 0, before, after)).unfold(2, width, size)
    v = F.pad(keys.v, (0, 0, before, after)).unfold(2, width, size)
    hidden = F.pad(keys.padding, (before, after), value=1.0).unfold(1, width, size)
    q = F.pad(q, (0, 0, 0, after)).view(q.size(0), q.size(1), -1, size, q.size(3))
    seen = torch.ones(size, width, dtype=torch.bool, device=q.device).triu().tril(window - 1)
    hidden = hidden.unsqueeze(1).unsqueeze(3) | ~seen
    return (q @ k).masked_fill(hidden, float("-inf")), v.transpose(-1, -2)


def joined(
    q: Tensor, keys: Recent, window: int, older: Tuple[Tensor, Tensor], log_scale: Tensor, least: float = LEAST_SUM
) -> Sums:
    """The sums over a window and over what is older, on one scale, which leaves their quotient as it is.

    q: [B, H, T, d] scaled, of the last T keys; older: numerator: [B, H, T, d] and denominator: [B, H, T] of features
    that are to be multiplied with exp(log_scale: [B, H, T]). The scale is the largest weight, so that the
    denominator is at least 1 where any key is seen.
    """
    T = q.size(2)
    numerator, denominator = older
    scores, values = window_scores(q, keys, window)
    largest = scores.detach().amax(dim=-1).flatten(2)[:, :, :T]
    none = denominator < least
    heaviest = (log_scale + denominator.clamp(min=least).log()).detach()
    largest = torch.maximum(largest, heaviest.masked_fill(none, float("-inf")))
    largest = largest.masked_fill(largest == float("-inf"), 0.0)
    after = scores.size(2) * scores.size(3) - T
    weights = (scores - F.pad(largest, (0, after)).view(scores.shape[:4]).unsqueeze(-1)).exp()
    # Only of sums that are none can it reach the limit.
    factor = (log_scale - largest).clamp(max=-math.log(least)).exp().masked_fill(none, 0.0)
    numerator = (weights @ values).flatten(2, 3)[:, :, :T] + factor.unsqueeze(-1) * numerator
    return numerator, weights.sum(dim=-1).flatten(2, 3)[:, :, :T] + factor * denominator


class WindowedLinearAttention(LinearAttention):
    """Causal attention with softmax weights to the last `window` positions and features for all older ones.

        out_t = (sum_{t-W<s<=t} e_ts v_s + phi(q_t)^T S) / (sum_{t-W<s<=t} e_ts + phi(q_t)^T z)
        e_ts = exp(q_t . k_s / sqrt(d)),    S = sum_{s<=t-W} phi(k_s) v_s^T,    z = sum_{s<=t-W} phi(k_s)

    after LoLCATs (arXiv 2410.10254) with one scale for both. A step remembers S, z and the last W keys and values.
    `parts` is "both", or "window" or "linear" to drop the other part's terms from both sums, for measurements of what
    each contributes; where nothing is seen the output is that of zeros.

    Args:
        attention: fairseq's MultiheadAttention, whose projections it takes over
        feature_map: an ExpFeatureMap, whose products start at the scale of exp(q . k / sqrt(d))
        window: W, the position itself among them

    Raises UserError for another feature map or window < 1, and what LinearAttention raises.

    Examples:
        >>> import torch
        >>> from fairseq.modules import MultiheadAttention
        >>> from fairseq_lite import FEATURE_MAPS, WindowedLinearAttention
        >>> softmax = MultiheadAttention(64, num_heads=4, self_attention=True)
        >>> phi = FEATURE_MAPS["exp"](num_heads=4, head_dim=16, feature_dim=32)
        >>> windowed = WindowedLinearAttention(softmax, phi, window=4)
        >>> x = torch.randn(10, 3, 64)
        >>> windowed(x, x, x)[0].shape
        torch.Size([10, 3, 64])
    """

    def __init__(self, attention: nn.Module, feature_map: ExpFeatureMap, window: int):
        super().__init__(attention, feature_map, causal=True)
        if not isinstance(feature_map, ExpFeatureMap):
            raise UserError(
                f"feature map {type(feature_map).__name__}: a window needs ExpFeatureMap, on softmax's scale"
            )
        if window < 1:
            raise UserError(f"window {window}: a window has at least 1 position")
        self.window = window
        self.parts = "both"

    def _attend_to_the_past(
        self, queries: Tensor, x: Tensor, padding_mask: Optional[Tensor], incremental_state: Optional[IncrementalState]
    ) -> Tuple[Tensor, Tensor]:
        new = self._positions(x, padding_mask)
        past, sums = self._recall_window(incremental_state)
        keys = new
        if past is not None:
            keys = Recent(
                torch.cat([past.k, new.k], dim=2),
                torch.cat([past.v, new.v], dim=2),
                torch.cat([past.padding, new.padding], dim=1),
            )
        q, log_scale = self.feature_map.queries_and_scale(queries)
        k, v = self._leaving(keys, q.size(2))
        numerator, denominator, sums = causal_product(q, k, v, sums)
        self._remember_window(incremental_state, last(keys, self.window), sums)
        if self.parts == "window":
            numerator, denominator = torch.zeros_like(numerator), torch.zeros_like(denominator)
        elif self.parts == "linear":
            keys = Recent(keys.k, torch.zeros_like(keys.v), torch.ones_like(keys.padding))
        window = min(self.window, keys.k.size(2))
        scaled = in_float32(queries) * self.softmax_scale
        return joined(scaled, keys, window, (numerator, denominator), log_scale)

    def _positions(self, x: Tensor, padding_mask: Optional[Tensor]) -> Recent:
        """Keys and values of x: [T, B, C]."""
        k, v = in_float32(self._heads(self.k_proj(x))), self._values(x)
        if padding_mask is None:
            return Recent(k, v, torch.zeros(k.size(0), k.size(2), dtype=torch.bool, device=k.device))
        padding = padding_mask.to(torch.bool)
        return Recent(k, v.masked_fill(padding.unsqueeze(1).unsqueeze(-1), 0.0), padding)

    def _leaving(self, keys: Recent, T: int) -> Tuple[Tensor, Tensor]:
        """phi(k): [B, H, T, k] and v: [B, H, T, d] of what leaves the window at each of T last positions, or zeros."""
        first = max(0, keys.k.size(2) - T - self.window)
        end = max(0, keys.k.size(2) - self.window)
        k, v = keys.k[:, :, first:end], keys.v[:, :, first:end]
        features = in_float32(self.feature_map.keys(k.to(self.k_proj.weight.dtype)))
        features = features.masked_fill(keys.padding[:, first:end].unsqueeze(1).unsqueeze(-1), 0.0)
        missing = (0, 0, T - (end - first), 0)
        return F.pad(features, missing), F.pad(v, missing)

    def _recall_window(
        self, incremental_state: Optional[IncrementalState]
    ) -> Tuple[Optional[Recent], Optional[Tuple[Tensor, Tensor]]]:
        """The last `window` positions and the sums over all older ones, None before the first step."""
        saved = self._get_input_buffer(incremental_state)
        if len(saved) == 0:
            return None, None
        k, v, padding = saved["k"], saved["v"], saved["padding"]
        assert k is not None and v is not None and padding is not None
        return Recent(k, v, padding), self._recall(incremental_state)

    def _remember_window(
        self, incremental_state: Optional[IncrementalState], window: Recent, sums: Tuple[Tensor, Tensor]
    ) -> None:
        if incremental_state is not None:
            buffer: Dict[str, Optional[Tensor]] = {"S": sums[0], "z": sums[1]}
            buffer["k"], buffer["v"], buffer["padding"] = window.k, window.v, window.padding
            self._set_input_buffer(incremental_state, buffer)

    @torch.jit.unused
    def weights(self, q: Tensor, k: Tensor, x: Tensor, hidden: Tensor) -> Tensor:
        """As those of LinearAttention, [B, H, T, S]: of scores in the window, of features before it."""
        features, log_scale = self.feature_map.queries_and_scale(q)
        products = features @ in_float32(self.feature_map.keys(k)).transpose(-1, -2)
        scores = in_float32(q) * self.softmax_scale @ in_float32(k).transpose(-1, -2)
        recent = torch.ones(scores.shape[2:], dtype=torch.bool, device=q.device).triu(1 - self.window)
        logs = torch.where(recent, scores, log_scale.unsqueeze(-1) + products.clamp(min=LEAST_SUM).log())
        if self.parts != "both":
            hidden = hidden | (recent if self.parts == "linear" else ~recent)
        # Finite, so that a query that sees nothing has no gradient that is not a number.
        return logs.masked_fill(hidden, torch.finfo(logs.dtype).min).softmax(dim=-1).masked_fill(hidden, 0.0)

    def make_generation_fast_(self, need_attn: bool = False, **unused) -> None:
        """Fold nothing: the window needs queries and keys as they are."""
