"""The blocks that a cell of the Evolved Transformer adds to a Transformer layer (So et al., arXiv 1901.11117).

The residual connection, and the layer norm before each block, are the layer's.
"""

from typing import Optional, Tuple

import torch.nn as nn
import torch.nn.functional as F
from fairseq.modules import LayerNorm
from torch import Tensor

from fairseq_lite.modules.conv_branch import xavier_linear
from fairseq_lite.modules.incremental_state import IncrementalState
from fairseq_lite.modules.separable_conv import SeparableConv, TemporalConv


def widened(x: Tensor, width: int) -> Tensor:
    """x: [T, B, C] with zeros behind its channels; returns [T, B, width]."""
    return F.pad(x, (0, width - x.size(-1)))


class GatedLinearUnit(nn.Module):
    """a * sigmoid(b) of two linear maps a and b of x: [T, B, C]."""

    def __init__(self, dim: int):
        super().__init__()
        self.linear = xavier_linear(dim, 2 * dim)

    def forward(self, x: Tensor) -> Tensor:
        """x: [T, B, C]; returns [T, B, C]."""
        return F.glu(self.linear(x), dim=-1)


class BranchedConvolutions(nn.Module):
    """joined(norm(wide(x) + narrow(x))), of which narrow gives the first channels of the sum and joined of the result.

    Args:
        wide_dim: channels of the wide branch
        dropout: applied to both branches
    """

    joined: nn.Module

    def __init__(self, wide_dim: int, dropout: nn.Module):
        super().__init__()
        self.layer_norm = LayerNorm(wide_dim)
        self.dropout_module = dropout

    def branches(
        self, x: Tensor, padding_mask: Optional[Tensor], incremental_state: Optional[IncrementalState]
    ) -> Tuple[Tensor, Tensor]:
        """The wide and the narrow branch."""
        raise NotImplementedError

    def forward(
        self,
        x: Tensor,
        padding_mask: Optional[Tensor] = None,
        incremental_state: Optional[IncrementalState] = None,
    ) -> Tensor:
        """x: [T, B, C], padding_mask: [B, T] with True on padding; returns [T, B, C]."""
        wide, narrow = map(self.dropout_module, self.branches(x, padding_mask, incremental_state))
        y = self.layer_norm(wide + widened(narrow, wide.size(-1)))
        return widened(self.joined(y, padding_mask, incremental_state), x.size(-1))


class EncoderConvolutions(BranchedConvolutions):
    """C -> 4C dense beside C -> C/2 over 3 columns, both with ReLU; then 4C -> C/2, separable over 9 columns."""

    def __init__(self, dim: int, dropout: nn.Module):
        super().__init__(4 * dim, dropout)
        self.wide = xavier_linear(dim, 4 * dim)
        self.narrow = TemporalConv(dim, dim // 2, 3)
        self.joined = SeparableConv(4 * dim, dim // 2, 9)

    def branches(self, x, padding_mask, incremental_state):
        return F.relu(self.wide(x)), F.relu(self.narrow(x, padding_mask))


class DecoderConvolutions(BranchedConvolutions):
    """C -> 2C over 11 columns with ReLU beside C -> C/2 over 7; then 2C -> C over 7; all are separable and causal."""

    def __init__(self, dim: int, dropout: nn.Module):
        super().__init__(2 * dim, dropout)
        self.wide = SeparableConv(dim, 2 * dim, 11, causal=True)
        self.narrow = SeparableConv(dim, dim // 2, 7, causal=True)
        self.joined = SeparableConv(2 * dim, dim, 7, causal=True)

    def branches(self, x, padding_mask, incremental_state):
        wide = F.relu(self.wide(x, padding_mask, incremental_state))
        return wide, self.narrow(x, padding_mask, incremental_state)


class ParallelAttention(nn.Module):
    """The sum of attention to the past and attention to the source, if there is a source, by the same queries.

    Both are MultiheadAttention; `dropout` is applied to each one's output.
    """

    def __init__(self, self_attn: nn.Module, encoder_attn: Optional[nn.Module], dropout: nn.Module):
        super().__init__()
        self.self_attn = self_attn
        self.encoder_attn = encoder_attn
        self.dropout_module = dropout

    def forward(
        self,
        x: Tensor,
        source: Optional[Tensor],
        source_padding_mask: Optional[Tensor],
        incremental_state: Optional[IncrementalState],
        attn_mask: Optional[Tensor],
        padding_mask: Optional[Tensor],
    ) -> Tensor:
        """x: [T, B, C], source: [S, B, C'], source_padding_mask: [B, S], attn_mask: [T, T]; returns [T, B, C]."""
        options = dict(incremental_state=incremental_state, need_weights=False)
        past, _ = self.self_attn(x, x, x, key_padding_mask=padding_mask, attn_mask=attn_mask, **options)
        y = self.dropout_module(past)
        if self.encoder_attn is not None and source is not None:
            options.update(key_padding_mask=source_padding_mask, static_kv=True)
            crossed, _ = self.encoder_attn(x, source, source, **options)
            y = y + self.dropout_module(crossed)
        return y
