import logging
from typing import Dict, Optional, Tuple

import torch
import torch.nn as nn
from fairseq.incremental_decoding_utils import FairseqIncrementalState
from torch import Tensor

from fairseq_lite.modules.causal_product import causal_product, decay_between
from fairseq_lite.modules.checks import require_heads, require_projections
from fairseq_lite.modules.feature_maps import FeatureMap, in_float32
from fairseq_lite.modules.incremental_state import IncrementalState

logger = logging.getLogger(__name__)


def divide(numerator: Tensor, denominator: Tensor, least: float) -> Tensor:
    """numerator: [..., d] by denominator: [...], which counts as `least` if it is less.

    Products of random features can be zero or negative; a quotient that kept their sign would make training diverge.
    """
    return numerator / denominator.clamp(min=least).unsqueeze(-1)


class LinearAttention(nn.Module, FairseqIncrementalState):
    """Attention of phi(q) . phi(k) instead of exp(q . k), which decodes as an RNN (arXiv 2103.13076, equation 4).

        out_t = phi(q_t)^T S / phi(q_t)^T z,    S = sum_s phi(k_s) v_s^T,    z = sum_s phi(k_s)

    summed over s <= t where causal, else over all keys. Has the call signature of fairseq's MultiheadAttention.

    Args:
        attention: fairseq's MultiheadAttention, whose projections it takes over under their names
        feature_map: phi for heads of the same number and width; FEATURE_MAPS names those that there are
        causal: whether a position sees itself and the past alone, and the past is remembered while decoding
        gate: whether the causal state decays by g = sigmoid(w x) at each position (arXiv 2103.02143, section 3.2)

    Raises ArgumentError for attention that is not fairseq's, and for a feature map of other heads.

    Examples:
        >>> import torch
        >>> from fairseq.modules import MultiheadAttention
        >>> from fairseq_lite import FEATURE_MAPS, LinearAttention
        >>> softmax = MultiheadAttention(64, num_heads=4, self_attention=True)
        >>> phi = FEATURE_MAPS["exp"](num_heads=4, head_dim=16, feature_dim=32)
        >>> linear = LinearAttention(softmax, phi, causal=True)
        >>> x = torch.randn(10, 3, 64)
        >>> output, _ = linear(x, x, x)
        >>> output.shape
        torch.Size([10, 3, 64])

        Step by step it gives the same, from a state of constant size:

        >>> state = {}
        >>> steps = [linear(x[t : t + 1], None, None, incremental_state=state)[0] for t in range(10)]
        >>> torch.allclose(torch.cat(steps), output, atol=1e-5)
        True
    """

    def __init__(self, attention: nn.Module, feature_map: FeatureMap, causal: bool, gate: bool = False):
        super().__init__()
        require_projections(attention)
        require_heads(feature_map, attention)
        self.embed_dim: int = attention.embed_dim
        self.num_heads: int = attention.num_heads
        self.head_dim: int = attention.head_dim
        self.causal = causal
        self.encoder_decoder_attention: bool = attention.encoder_decoder_attention
        self.q_proj = attention.q_proj
        self.k_proj = attention.k_proj
        self.v_proj = attention.v_proj
        self.out_proj = attention.out_proj
        self.dropout_module = attention.dropout_module
        self.feature_map = feature_map
        self.query_scale: float = feature_map.query_scale
        self.least: float = feature_map.least
        # Of softmax attention; heads that pruning left keep it, as they keep the size of their products.
        self.softmax_scale: float = attention.scaling
        self.gate = nn.Linear(self.embed_dim, self.num_heads) if gate else None
        self.gives_weights = False
        self.init_incremental_state()

    def forward(
        self,
        query: Tensor,
        key: Optional[Tensor],
        value: Optional[Tensor],
        key_padding_mask: Optional[Tensor] = None,
        incremental_state: Optional[IncrementalState] = None,
        need_weights: bool = True,
        static_kv: bool = False,
        attn_mask: Optional[Tensor] = None,
        before_softmax: bool = False,
        need_head_weights: bool = False,
    ) -> Tuple[Tensor, Optional[Tensor]]:
        """Attend to the past if causal, else to all of key and value.

        Args:
            query: [T, B, C]
            key, value: [S, B, C']; causal attention takes `query` for them, and later steps of the other need none
            key_padding_mask: [B, S], true on padding
            incremental_state: of decoding step by step, where `query` holds the next positions
            need_weights: whether to form the weights, [B, T, S]; done only after `make_generation_fast_` asked for them
            need_head_weights: whether to form those of each head, [H, B, T, S]
            static_kv, attn_mask, before_softmax: not looked at; `causal` says which keys are seen

        Returns [T, B, C] and the weights or None.
        """
        T, B, _ = query.shape
        queries = self._heads(self.q_proj(query) * self.query_scale)
        if self.causal:
            numerator, denominator = self._attend_to_the_past(queries, query, key_padding_mask, incremental_state)
        else:
            S, z = self._sums_over(key, value, key_padding_mask, incremental_state)
            q = in_float32(self.feature_map.queries(queries))
            numerator, denominator = q @ S, (q @ z.unsqueeze(-1)).squeeze(-1)
        attended = divide(numerator, denominator, self.least).to(query.dtype).permute(2, 0, 1, 3).reshape(T, B, -1)
        weights: Optional[Tensor] = None
        if self.gives_weights and need_weights and not self.causal:
            assert key is not None
            q = in_float32(self.feature_map.queries(queries))
            products = q @ self._keys(key, key_padding_mask).transpose(-1, -2)
            weights = divide(products, denominator, self.least).transpose(0, 1)
            if not need_head_weights:
                weights = weights.mean(dim=0)
        return self.out_proj(attended), weights

    def _heads(self, x: Tensor) -> Tensor:
        """[T, B, H * d] to [B, H, T, d]."""
        T, B, _ = x.shape
        return x.view(T, B, self.num_heads, -1).permute(1, 2, 0, 3)

    def _keys(self, key: Tensor, padding_mask: Optional[Tensor]) -> Tensor:
        """phi(k): [B, H, S, k], zero on padding, which so never enters a sum."""
        features = in_float32(self.feature_map.keys(self._heads(self.k_proj(key))))
        if padding_mask is not None:
            features = features.masked_fill(padding_mask.to(torch.bool).unsqueeze(1).unsqueeze(-1), 0.0)
        return features

    def _values(self, value: Tensor) -> Tensor:
        """v: [B, H, S, d]. Attention dropout falls on them, for there are no weights that it could fall on."""
        return in_float32(self.dropout_module(self._heads(self.v_proj(value))))

    def _attend_to_the_past(
        self, queries: Tensor, x: Tensor, padding_mask: Optional[Tensor], incremental_state: Optional[IncrementalState]
    ) -> Tuple[Tensor, Tensor]:
        """queries: [B, H, T, d], x: [T, B, C]; returns numerator: [B, H, T, d] and denominator: [B, H, T]."""
        q = in_float32(self.feature_map.queries(queries))
        k, v = self._keys(x, padding_mask), self._values(x)
        log_decay: Optional[Tensor] = None
        if self.gate is not None:
            logits = in_float32(self.gate(x)).permute(1, 2, 0)
            if padding_mask is not None:
                logits = logits.masked_fill(padding_mask.to(torch.bool).unsqueeze(1), float("inf"))
            log_decay = nn.functional.logsigmoid(logits)
            k = k * torch.sigmoid(-logits).unsqueeze(-1)
        numerator, denominator, sums = causal_product(q, k, v, self._recall(incremental_state), log_decay)
        self._remember(incremental_state, sums)
        return numerator, denominator

    def _sums_over(
        self,
        key: Optional[Tensor],
        value: Optional[Tensor],
        padding_mask: Optional[Tensor],
        incremental_state: Optional[IncrementalState],
    ) -> Tuple[Tensor, Tensor]:
        """S and z over all keys; those of a source are summed once and remembered."""
        past = self._recall(incremental_state)
        if past is not None:
            return past
        assert key is not None and value is not None
        k = self._keys(key, padding_mask)
        sums = k.transpose(-1, -2) @ self._values(value), k.sum(dim=2)
        self._remember(incremental_state, sums)
        return sums

    def _recall(self, incremental_state: Optional[IncrementalState]) -> Optional[Tuple[Tensor, Tensor]]:
        """S: [B, H, k, d] and z: [B, H, k] of the steps before, None before the first."""
        saved = self._get_input_buffer(incremental_state)
        if len(saved) == 0:
            return None
        S, z = saved["S"], saved["z"]
        assert S is not None and z is not None
        return S, z

    def _remember(self, incremental_state: Optional[IncrementalState], sums: Tuple[Tensor, Tensor]) -> None:
        if incremental_state is not None:
            buffer: Dict[str, Optional[Tensor]] = {"S": sums[0], "z": sums[1]}
            self._set_input_buffer(incremental_state, buffer)

    def _get_input_buffer(self, incremental_state: Optional[IncrementalState]) -> Dict[str, Optional[Tensor]]:
        saved = self.get_incremental_state(incremental_state, "attn_state")
        if saved is None:
            empty: Dict[str, Optional[Tensor]] = {}
            return empty
        return saved

    def _set_input_buffer(self, incremental_state: IncrementalState, buffer: Dict[str, Optional[Tensor]]):
        return self.set_incremental_state(incremental_state, "attn_state", buffer)

    def reorder_incremental_state(self, incremental_state: IncrementalState, new_order: Tensor) -> None:
        """Let the state follow the beams; new_order: [B']."""
        saved = self._get_input_buffer(incremental_state)
        if len(saved) > 0:
            reordered: Dict[str, Optional[Tensor]] = {}
            for name, past in saved.items():
                reordered[name] = None if past is None else past.index_select(0, new_order)
            self._set_input_buffer(incremental_state, reordered)

    @torch.jit.unused
    def weights(self, q: Tensor, k: Tensor, x: Tensor, hidden: Tensor) -> Tensor:
        """What the values are weighted with, [B, H, T, S], of every query and key: quadratic, as a pass never is.

        Args:
            q, k: projected queries and keys, [B, H, T, d] and [B, H, S, d]
            x: what the queries are projected from, [T, B, C], for a gate
            hidden: true where a query does not see a key, [B or 1, 1, T or 1, S]
        """
        features = in_float32(self.feature_map.queries(q * self.query_scale))
        products = features @ in_float32(self.feature_map.keys(k)).transpose(-1, -2)
        if self.gate is not None:
            log_decay = nn.functional.logsigmoid(in_float32(self.gate(x)).permute(1, 2, 0))
            padding = hidden[:, :, -1]
            log_decay = log_decay.masked_fill(padding, 0.0)
            products = products * (1 - log_decay.exp()).unsqueeze(-2) * decay_between(log_decay.cumsum(-1))
        products = products.masked_fill(hidden, 0.0)
        return divide(products, products.sum(-1), self.least)

    @torch.jit.unused
    def new_state(self) -> Dict[str, Tensor]:
        """What softmax attention has no counterpart of, under its names in this module's state dict."""
        return {
            name: tensor for name, tensor in self.state_dict().items() if name.split(".")[0] in ("feature_map", "gate")
        }

    @torch.jit.unused
    def upgrade_state_dict_named(self, state_dict: Dict[str, Tensor], name: str) -> None:
        """Let a checkpoint of softmax attention be loaded, as by --finetune-from-model; what it lacks is left alone."""
        prefix = f"{name}." if name else ""
        new = {prefix + key: tensor for key, tensor in self.new_state().items()}
        if new and not any(key in state_dict for key in new):
            logger.warning(f"{name}: the checkpoint has softmax attention here; {', '.join(new)} keep initial values")
            state_dict.update(new)

    def make_generation_fast_(self, need_attn: bool = False, **unused) -> None:
        """Fold a learned feature map into the projections.

        fairseq calls this before it generates or scores, never for a model that trains.
        """
        self.gives_weights = need_attn
        if isinstance(self.feature_map, FeatureMap):
            self.feature_map.fold_into(self)
