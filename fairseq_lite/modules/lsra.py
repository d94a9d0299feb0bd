from typing import Dict, Optional, Tuple

import torch
import torch.nn as nn
from torch import Tensor

from fairseq_lite.modules.checks import require_projections
from fairseq_lite.modules.incremental_state import IncrementalState


class LSRA(nn.Module):
    """Long-short range attention: the first channels attend, the others are convolved (arXiv 2004.11886).

    It has MultiheadAttention's call signature, so that fairseq's layers take it for their self-attention. It has no
    `reorder_incremental_state`: fairseq calls that of every submodule.

    Args:
        attention: fairseq's MultiheadAttention, or another of its call signature, on its `embed_dim` first channels
        conv: a ConvBranch on the rest, causal where `attention` is

    Raises ArgumentError for attention that is not fairseq's.

    Examples:
        >>> import torch
        >>> from fairseq.modules import MultiheadAttention
        >>> from fairseq_lite import LSRA, LightweightConv
        >>> attention = MultiheadAttention(32, num_heads=2, self_attention=True)
        >>> lsra = LSRA(attention, LightweightConv(32, kernel_size=7, num_heads=4))
        >>> x = torch.randn(10, 3, 64)
        >>> output, weights = lsra(x, x, x)
        >>> output.shape
        torch.Size([10, 3, 64])
    """

    __jit_unused_properties__ = ["q_proj", "out_proj"]

    def __init__(self, attention: nn.Module, conv: nn.Module):
        super().__init__()
        require_projections(attention)
        self.attention = attention
        self.conv = conv
        self.attention_dim: int = attention.embed_dim
        self.num_heads: int = attention.num_heads
        self.head_dim: int = attention.head_dim

    @property
    def q_proj(self) -> nn.Module:
        """What the encoder layer of fairseq 0.12.2 reads the sizes of its fast path from."""
        return self.attention.q_proj

    @property
    def out_proj(self) -> nn.Module:
        """As `q_proj`."""
        return self.attention.out_proj

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
        """Attend to the past and the future, or to what `attn_mask` leaves, and convolve.

        Args:
            query: [T, B, C], which stands for `key` and `value` too
            key_padding_mask: [B, T], true on padding
            incremental_state: of decoding step by step, where `query` holds the next positions
            need_weights, static_kv, attn_mask, before_softmax, need_head_weights: handed on to the attention branch

        Returns [T, B, C] and the attention branch's weights.
        """
        long_range = query[:, :, : self.attention_dim]
        short_range = query[:, :, self.attention_dim :]
        attended, weights = self.attention(
            long_range,
            long_range,
            long_range,
            key_padding_mask=key_padding_mask,
            incremental_state=incremental_state,
            need_weights=need_weights,
            static_kv=static_kv,
            attn_mask=attn_mask,
            before_softmax=before_softmax,
            need_head_weights=need_head_weights,
        )
        convolved = self.conv(short_range, key_padding_mask, incremental_state)
        return torch.cat([attended, convolved], dim=-1), weights

    def _get_input_buffer(self, incremental_state: Optional[IncrementalState]) -> Dict[str, Optional[Tensor]]:
        return self.attention._get_input_buffer(incremental_state)

    def _set_input_buffer(
        self,
        incremental_state: IncrementalState,
        buffer: Dict[str, Optional[Tensor]],
    ):
        return self.attention._set_input_buffer(incremental_state, buffer)
