from typing import Dict, Optional, Tuple

import torch
import torch.nn as nn
from torch import Tensor

from fairseq_lite.modules.incremental_state import IncrementalState


class LSRA(nn.Module):
    """Long-short range attention: the first channels attend, the others are convolved (arXiv 2004.11886).

    `attention` has MultiheadAttention's call signature and takes its `embed_dim` first channels; `conv` is a
    ConvBranch on the rest. LSRA itself has MultiheadAttention's call signature too, so that fairseq's layers take
    it for their self-attention. It has no `reorder_incremental_state`: fairseq calls that of every submodule.
    """

    __jit_unused_properties__ = ["q_proj", "out_proj"]

    def __init__(self, attention: nn.Module, conv: nn.Module):
        super().__init__()
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
        """query: [T, B, C], the same as key and value; returns [T, B, C] and the attention branch's weights."""
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
