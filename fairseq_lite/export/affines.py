"""Linear layers of a model as arrays: scaled, with outputs that are always 0 or 1, and as pruning left them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Dict, Optional, Tuple

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
        # nothing has no address of its own
        return tensor.data_ptr() or id(tensor), tuple(tensor.shape)

    def of(self, tensor: Tensor) -> str:
        """The first name of the tensor in the model."""
        return self._names[self._identity(tensor)]


@dataclass(frozen=True)
class Matrix:
    """A matrix as it is stored, and its rows of zeros, which are put in when the model is loaded.

    Args:
        entries: [stored, in]
        places: [out], the stored row that each row is; the number `stored` stands for a row of zeros; None for all
    """

    name: str
    entries: np.ndarray
    places: Optional[np.ndarray] = None

    @property
    def rows(self) -> int:
        return len(self.entries) if self.places is None else len(self.places)

    @property
    def columns(self) -> int:
        return self.entries.shape[1]

    @property
    def size(self) -> int:
        """Entries with the rows of zeros."""
        return self.rows * self.columns

    @property
    def key(self) -> Tuple:
        """What tells it from a matrix of the same entries in other rows."""
        return self.name, None if self.places is None else self.places.tobytes()


@dataclass(frozen=True)
class Affine:
    """y = W x[inputs] + b; where `outputs` is given that is y[outputs], and the rest of y: [width] is 0.

    `inputs` and `outputs` are None where they are all channels; bias: [rows of W] or None.
    """

    matrix: Matrix
    bias: Optional[np.ndarray]
    width: int
    inputs: Optional[np.ndarray] = None
    outputs: Optional[np.ndarray] = None

    @property
    def name(self) -> str:
        return self.matrix.name


def affine_of(layer: nn.Module, names: Names) -> Affine:
    """The arrays of a linear layer; raises UserError for a layer of another kind."""
    if type(layer) not in (nn.Linear, PrunedLinear):
        raise UserError(f"{type(layer).__name__}: linear layers of this kind cannot be exported")
    weight, bias = array_of(layer.weight), None if layer.bias is None else array_of(layer.bias)
    name = names.of(layer.weight)
    inputs, outputs = (
        None if places is None else array_of(places)
        for places in (getattr(layer, "inputs", None), getattr(layer, "outputs", None))
    )
    return Affine(Matrix(name, weight), bias, layer.out_features, inputs, outputs)


def scaled(affine: Affine, scale: float) -> Affine:
    """The layer with its outputs times `scale`."""
    if scale == 1:
        return affine
    matrix = replace(affine.matrix, name=f"{affine.name}.scaled", entries=affine.matrix.entries * np.float32(scale))
    return replace(affine, matrix=matrix, bias=None if affine.bias is None else affine.bias * np.float32(scale))


def _placed(affine: Affine, places: np.ndarray, constant: float = 0) -> Affine:
    """The layer with other rows: `places` as in Matrix, of which those that stand for no row are always `constant`."""
    bias = affine.bias
    if bias is not None or constant:
        given = np.zeros(affine.matrix.rows, np.float32) if bias is None else bias
        bias = np.append(given, np.float32(constant))[places]
    old = np.arange(affine.matrix.rows) if affine.matrix.places is None else affine.matrix.places
    rows = np.append(old, len(affine.matrix.entries))[places]
    return replace(affine, matrix=replace(affine.matrix, places=rows), bias=bias, width=len(places), outputs=None)


def filled(affine: Affine) -> Affine:
    """The layer with rows of zeros for the outputs that are zero."""
    if affine.outputs is None:
        return affine
    places = np.full(affine.width, affine.matrix.rows)
    places[affine.outputs] = np.arange(affine.matrix.rows)
    return _placed(affine, places)


def with_zero(affine: Affine) -> Tuple[Affine, np.ndarray]:
    """The layer with one more output, a zero, and which output each channel of y: [width] is."""
    rows = affine.matrix.rows
    channels = np.full(affine.width, rows)
    channels[affine.outputs] = np.arange(rows)
    return _placed(affine, np.arange(rows + 1)), channels


def with_ones(affine: Affine, heads: int) -> Affine:
    """The layer with one more output at the end of each head, which is always 1."""
    affine = filled(affine)
    by_head = np.arange(affine.width).reshape(heads, -1)
    return _placed(affine, np.pad(by_head, ((0, 0), (0, 1)), constant_values=affine.width).ravel(), constant=1)
