"""The states of incremental decoding, as fairseq keeps them."""

from typing import Dict, Optional

import torch
from fairseq.incremental_decoding_utils import FairseqIncrementalState
from torch import Tensor

# By module and name: {"<module's id>.attn_state": {"prev_key": [B, H, T, d], ...}}
IncrementalState = Dict[str, Dict[str, Optional[Tensor]]]


class RememberedColumns(FairseqIncrementalState):
    """The K-1 columns that a causal convolution remembers while it decodes step by step."""

    def with_past(self, x: Tensor, kernel_size: int, incremental_state: Optional[IncrementalState]) -> Tensor:
        """x: [T, B, C] behind the K-1 columns before it, zeros before the first; returns [K - 1 + T, B, C].

        With an incremental state the last K-1 of these are remembered.
        """
        past = self.past_columns(incremental_state)
        if past is None:
            past = x.new_zeros(kernel_size - 1, x.size(1), x.size(2))
        columns = torch.cat([past, x], dim=0)
        if incremental_state is not None:
            self.remember_columns(incremental_state, columns[x.size(0) :])
        return columns

    def past_columns(self, incremental_state: Optional[IncrementalState]) -> Optional[Tensor]:
        """The last K-1 columns before the convolution, [K-1, B, C], or None before the first step."""
        state = self.get_incremental_state(incremental_state, "columns")
        return None if state is None else state["past"]

    def remember_columns(self, incremental_state: IncrementalState, columns: Tensor) -> None:
        state: Dict[str, Optional[Tensor]] = {"past": columns}
        self.set_incremental_state(incremental_state, "columns", state)

    def reorder_incremental_state(self, incremental_state: IncrementalState, new_order: Tensor) -> None:
        """Let the remembered columns follow the beams; new_order: [B']."""
        past = self.past_columns(incremental_state)
        if past is not None:
            self.remember_columns(incremental_state, past.index_select(1, new_order))
