"""The states of incremental decoding, as fairseq keeps them."""

from typing import Dict, Optional

from torch import Tensor

# By module and name: {"<module's id>.attn_state": {"prev_key": [B, H, T, d], ...}}
IncrementalState = Dict[str, Dict[str, Optional[Tensor]]]
