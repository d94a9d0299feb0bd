"""The fast path of encoder layers in fairseq 0.12.2, which computes from copies of stock attention and FFN."""

import re
from functools import partial
from typing import Dict, List

import torch.nn as nn
from torch import Tensor

_COPY = re.compile(r"(^|\.layers\.\d+\.)(in_proj|out_proj|fc1|fc2)_(weight|bias)$")


def drop_fast_path_copies(state_dict: Dict[str, Tensor]) -> List[str]:
    """Remove the copies from a state dict in place; returns their names."""
    copies = [name for name in state_dict if _COPY.search(name)]
    for name in copies:
        del state_dict[name]
    return copies


def leave_fast_path(layer: nn.Module) -> None:
    """Let an encoder layer, whose parts are not stock, always compute with its parts; where there is no path, nothing.

    Its copies go, and with them fairseq's own way of filling them when a checkpoint is loaded.

    Args:
        layer: of fairseq 0.12.2, after its constructor; other releases have no fast path

    Examples:
        >>> from fairseq_lite import build_architecture
        >>> from fairseq_lite.models import leave_fast_path
        >>> model = build_architecture("transformer_tiny")
        >>> for layer in model.encoder.layers:
        ...     leave_fast_path(layer)
    """
    if hasattr(layer, "can_use_fastpath"):
        layer.can_use_fastpath = False
        drop_fast_path_copies(layer._parameters)
        layer._load_from_state_dict = partial(nn.Module._load_from_state_dict, layer)
