"""Masks that an average of checkpoints would lose: what is zero in one of them and not in all."""

from __future__ import annotations

from typing import List, Sequence, Tuple

import torch
from torch import Tensor

from fairseq_lite.checkpoints import StateDict
from fairseq_lite.errors import UserError
from fairseq_lite.pruning.neurons import component_of
from fairseq_lite.pruning.units import zero_rows

# Single weights become zero by chance, in half precision by underflow; neurons do not.
_WEIGHTS_BY_CHANCE = 0.01


def refuse_lost_masks(states: Sequence[StateDict], paths: Sequence[str]) -> None:
    """Raise UserError, with both sparsities, where checkpoints of one model have different neurons or weights pruned.

    A mean of masks is no mask: what is pruned in one checkpoint alone would come back.
    """
    for unit, zeros_of, by_chance in (("neurons", _zero_neurons, 0.0), ("weights", _zero_weights, _WEIGHTS_BY_CHANCE)):
        lost, shares = _compared([zeros_of(state) for state in states])
        if lost > by_chance:
            (most, sparse), *_, (least, dense) = sorted(zip(shares, paths), reverse=True)
            raise UserError(
                f"{sparse}: {most:.1%} of its {unit} are pruned, and of {dense} {least:.1%}; "
                f"their mean would bring {lost:.1%} back; average checkpoints of one mask"
            )


def _compared(zeros: List[List[Tensor]]) -> Tuple[float, List[float]]:
    """The share of units that are zero in some state and not in all, and the share that is zero in each."""
    lost, total, counts = 0, 0, [0] * len(zeros)
    for masks in zip(*zeros):
        together = torch.stack(masks)
        lost += int((together.any(0) & ~together.all(0)).sum())
        total += together[0].numel()
        counts = [count + int(mask.sum()) for count, mask in zip(counts, masks)]
    return lost / max(1, total), [count / max(1, total) for count in counts]


def _layers(state: StateDict) -> List[str]:
    """Names of the linear layers that can be pruned."""
    matrices = [name.rpartition(".") for name, tensor in state.items() if tensor.dim() == 2]
    return [layer for layer, _, key in matrices if key == "weight" and component_of(layer)]


def _zero_neurons(state: StateDict) -> List[Tensor]:
    return [zero_rows(state[f"{name}.weight"], state.get(f"{name}.bias")) for name in _layers(state)]


def _zero_weights(state: StateDict) -> List[Tensor]:
    return [state[f"{name}.weight"] == 0 for name in _layers(state)]
