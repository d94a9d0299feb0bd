"""Linear layers of a model as arrays: scaled, put side by side, and as pruning left them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Dict, Optional, Sequence, Tuple

import numpy as np
import torch.nn as nn
from torch import Tensor

from fairseq_lite.errors import UserError
from fairseq_lite.modules import PrunedLinear


def array_of(tensor: Tensor) -> np.ndarray:
    """A tensor's entries, in float32 where they are floating point."""
    tensor = tensor.detach()
    return (tensor.float() if tensor.is_floating_point() else tensor).numpy()


class Names:
    """The names of a model's tensors, one for all places of a tied one."""

    def __init__(self, model: nn.Module):
        self._names: Dict[Tuple, str] = {}
        for name, tensor in model.state_dict(keep_vars=True).items():
            self._names.setdefault(self._identity(tensor), name)

    @staticmethod
    def _identity(tensor: Tensor) -> Tuple:
        return tensor.data_ptr(), tuple(tensor.shape)

    def of(self, tensor: Tensor) -> str:
        """The first name of the tensor in the model."""
        return self._names[self._identity(tensor)]


@dataclass(frozen=True)
class Affine:
    """y[outputs] = W x[inputs] + b, with zeros in the rest of y: [width].

    `inputs` and `outputs` are None where they are all channels.
    """

    name: str
    weight: np.ndarray
    bias: Optional[np.ndarray]
    width: int
    inputs: Optional[np.ndarray] = None
    outputs: Optional[np.ndarray] = None


def affine_of(layer: nn.Module, names: Names) -> Affine:
    """The arrays of a linear layer; raises UserError for a layer of another kind."""
    if type(layer) not in (nn.Linear, PrunedLinear):
        raise UserError(f"{type(layer).__name__}: no linear layer that can be exported")
    weight, bias = array_of(layer.weight), None if layer.bias is None else array_of(layer.bias)
    name = names.of(layer.weight)
    inputs, outputs = (
        None if places is None else array_of(places)
        for places in (getattr(layer, "inputs", None), getattr(layer, "outputs", None))
    )
    if weight.shape[1] == 0:
        # a product needs a channel, if only to multiply it with zero
        weight, inputs = np.zeros((len(weight), 1), np.float32), np.zeros(1, np.int64)
    return Affine(name, weight, bias, layer.out_features, inputs, outputs)


def scaled(affine: Affine, scale: float) -> Affine:
    """The layer with its outputs times `scale`."""
    bias = None if affine.bias is None else affine.bias * np.float32(scale)
    return replace(affine, weight=affine.weight * np.float32(scale), bias=bias)


def filled(affine: Affine) -> Affine:
    """The layer with rows of zeros for the outputs that are zero."""
    if affine.outputs is None:
        return affine
    weight = np.zeros((affine.width, affine.weight.shape[1]), np.float32)
    weight[affine.outputs] = affine.weight
    bias = None
    if affine.bias is not None:
        bias = np.zeros(affine.width, np.float32)
        bias[affine.outputs] = affine.bias
    return replace(affine, weight=weight, bias=bias, outputs=None)


def with_ones(affine: Affine, heads: int) -> Affine:
    """The layer with one more output at the end of each head, which is always 1."""
    affine = filled(affine)
    width = affine.width // heads
    bias = np.zeros(affine.width, np.float32) if affine.bias is None else affine.bias
    by_head = np.pad(affine.weight.reshape(heads, width, -1), ((0, 0), (0, 1), (0, 0)))
    bias_by_head = np.pad(bias.reshape(heads, width), ((0, 0), (0, 1)), constant_values=1)
    return replace(
        affine,
        name=f"{affine.name}+ones",
        weight=by_head.reshape(-1, affine.weight.shape[1]),
        bias=bias_by_head.ravel(),
        width=affine.width + heads,
    )


def side_by_side(affines: Sequence[Affine]) -> Affine:
    """One layer with the outputs of several, which look at the same channels; raises ValueError if they do not."""
    if any(affine.inputs is not None for affine in affines):
        raise ValueError("layers that look at some channels only stay apart")
    if len(affines) == 1:
        return affines[0]
    affines = [filled(affine) for affine in affines]
    biases = [np.zeros(a.width, np.float32) if a.bias is None else a.bias for a in affines]
    return Affine(
        name=joint_name([a.name for a in affines]),
        weight=np.concatenate([a.weight for a in affines]),
        bias=np.concatenate(biases),
        width=sum(a.width for a in affines),
    )


def joint_name(names: Sequence[str]) -> str:
    """One name of several layers: what they begin with in common, then what each has alone."""
    parts = [name.split(".") for name in names]
    common = 0
    while len({tuple(part[: common + 1]) for part in parts}) == 1:
        common += 1
    return ".".join([*parts[0][:common], "+".join(".".join(part[common:]) for part in parts)])
