"""Bytes of a checkpoint by part of the model."""

from __future__ import annotations

import os
import re
from typing import Dict

import torch

from fairseq_lite.archives import load_file
from fairseq_lite.checkpoints import StateDict, StrPath, distinct
from fairseq_lite.compression.packing import Damaged
from fairseq_lite.compression.states import is_sealed, sealed_sizes
from fairseq_lite.errors import UserError
from fairseq_lite.explain import unreadable_checkpoint

EMBEDDINGS, ATTENTION, CONVOLUTION, FFN, OUTPUT, OTHER = (
    "embeddings", "attention", "convolution", "FFN", "output", "norms, other weights",
)  # fmt: skip
OPTIMIZER, REST = "optimizer", "options and the rest"
WEIGHTS = (EMBEDDINGS, ATTENTION, CONVOLUTION, FFN, OUTPUT, OTHER)
PARTS = (*WEIGHTS, REST, OPTIMIZER)
# The first pattern that is found in a weight's name tells its part.
_PATTERNS = (
    (OTHER, r"norm"),
    (CONVOLUTION, r"\.conv\d*\.|\.linear\d\."),
    (ATTENTION, r"attn|attention"),
    (FFN, r"\.fc\d\.|ffn"),
    (OUTPUT, r"output_projection|adaptive_softmax|embed_out|lm_head"),
    (EMBEDDINGS, r"embed"),
)


def part_of(name: str) -> str:
    """The part of the model that a weight of this name belongs to."""
    return next((part for part, pattern in _PATTERNS if re.search(pattern, name)), OTHER)


def bytes_by_part(path: StrPath) -> Dict[str, int]:
    """Bytes of a checkpoint's file, compressed or not, by part; together they are the file on disk.

    Tied weights count once, with the first of their names.

    Args:
        path: checkpoint of fairseq's or of this plugin's

    Raises UserError for what is no checkpoint.

    Examples:
        >>> import os
        >>> from fairseq_lite import bytes_by_part
        >>> parts = bytes_by_part("checkpoint.pt")
        >>> parts["FFN"], parts["optimizer"]
        (133120, 0)
        >>> sum(parts.values()) == os.path.getsize("checkpoint.pt")
        True
    """
    path = os.fspath(path)
    try:
        checkpoint = load_file(path)
        state = checkpoint["model"]
        sizes = sealed_sizes(state) if is_sealed(state) else _storage_sizes(state)
    except UserError:
        raise
    except Damaged as error:
        raise UserError(f"{path}: this compressed checkpoint is damaged ({error})") from error
    except Exception as error:
        raise UserError(unreadable_checkpoint(path, error)) from error
    parts = dict.fromkeys(PARTS, 0)
    for name, size in sizes.items():
        parts[part_of(name)] += size
    parts[OPTIMIZER] = _bytes_within(checkpoint.get("last_optimizer_state"))
    parts[REST] = os.path.getsize(path) - sum(parts.values())
    return parts


def _storage_sizes(state: StateDict) -> Dict[str, int]:
    stored = distinct(state)
    return {name: tensor.numel() * tensor.element_size() if name in stored else 0 for name, tensor in state.items()}


def _bytes_within(content) -> int:
    """Bytes of all tensors in nested containers."""
    if torch.is_tensor(content):
        return content.numel() * content.element_size()
    if isinstance(content, dict):
        content = content.values()
    elif not isinstance(content, (list, tuple)):
        return 0
    return sum(map(_bytes_within, content))
