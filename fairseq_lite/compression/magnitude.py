"""Pruning of single weights by magnitude, which zeros what compression then leaves out."""

from typing import Dict

import torch

from fairseq_lite.checkpoints import StateDict
from fairseq_lite.compression.scheme import Scheme
from fairseq_lite.errors import ArgumentError


def check_sparsity(sparsity: float) -> None:
    """Raise ArgumentError for a share that is not of [0, 1)."""
    if not 0 <= sparsity < 1:
        raise ArgumentError("sparsity", sparsity, "must be at least 0 and less than 1")


def prune_smallest(state: StateDict, sparsity: float, scheme: Scheme, equals: Dict[str, str]) -> StateDict:
    """The state dict with a share of all quantised weights set to zero, those of the smallest magnitude.

    One threshold serves all matrices, the best of three rules for translation (See, Luong and Manning, CoNLL 2016).
    Zeros that are there already count. equals: first_of_equals(state). Raises ArgumentError as check_sparsity does.
    """
    check_sparsity(sparsity)
    chosen = [name for name, tensor in state.items() if equals[name] == name and scheme.quantises(name, tensor)]
    count = int(sparsity * sum(state[name].numel() for name in chosen))
    if not count:
        return state
    magnitudes = torch.cat([state[name].abs().flatten() for name in chosen])
    threshold = magnitudes.kthvalue(count).values
    pruned = {name: state[name].masked_fill(state[name].abs() <= threshold, 0.0) for name in chosen}
    return {name: pruned.get(equals[name], tensor) for name, tensor in state.items()}
