"""The mean of checkpoints."""

from __future__ import annotations

from typing import Dict, Optional, Sequence, Tuple

import torch

from fairseq_lite.checkpoints import StateDict, shape_mismatches
from fairseq_lite.errors import ArgumentError, UserError


def average(checkpoints: Sequence[StateDict], names: Optional[Sequence[str]] = None) -> StateDict:
    """The mean of state dicts, tensor by tensor; what is not floating point is taken from the last one.

    Tied weights stay one tensor, which a checkpoint stores once.

    Args:
        checkpoints: the weights by name of each
        names: what errors call them, by default their numbers from 0

    Raises UserError that names all mismatches if they are not of one model, ArgumentError if there is none.

    Examples:
        >>> from fairseq_lite import average, derived_checkpoint, read_checkpoint
        >>> last = [read_checkpoint(path) for path in ("checkpoint.pt", "checkpoint.pt")]
        >>> mean = average([checkpoint["model"] for checkpoint in last])
        >>> averaged = derived_checkpoint(last[-1], mean)
    """
    if not checkpoints:
        raise ArgumentError("checkpoints", "", "there is none; give at least one")
    last = checkpoints[-1]
    names = [f"checkpoint {number}" for number in range(len(checkpoints))] if names is None else names
    wrong = [
        f"{name}: {difference}"
        for name, state in zip(names, checkpoints)
        for difference in shape_mismatches(state, last)
    ]
    if wrong:
        raise UserError(f"not checkpoints of one model ({names[-1]} is the measure): {'; '.join(wrong)}")
    means: Dict[Tuple, torch.Tensor] = {}
    return {key: _mean_of_tied([state[key] for state in checkpoints], means) for key in last}


def _mean_of_tied(tensors: Sequence[torch.Tensor], means: Dict[Tuple, torch.Tensor]) -> torch.Tensor:
    identity = (tensors[-1].shape, *(tensor.data_ptr() for tensor in tensors))
    if identity not in means:
        means[identity] = _mean(tensors)
    return means[identity]


def _mean(tensors: Sequence[torch.Tensor]) -> torch.Tensor:
    if not tensors[-1].is_floating_point():
        return tensors[-1]
    total = torch.zeros_like(tensors[-1], dtype=torch.double)
    for tensor in tensors:
        total += tensor
    return (total / len(tensors)).to(tensors[-1].dtype)
