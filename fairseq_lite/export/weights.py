"""The weights of a model in a graph."""

from __future__ import annotations

from typing import Optional, Union

import numpy as np
import torch.nn as nn
from torch import Tensor

from fairseq_lite.export.affines import Affine, Names, affine_of, array_of, side_by_side
from fairseq_lite.export.graph import Graph, Value
from fairseq_lite.export.matrices import Float32


class Weights:
    """Writes products with a model's weights and look-ups in them, stored as `matrices` does."""

    def __init__(self, model: nn.Module, matrices: Float32):
        self.names = Names(model)
        self.matrices = matrices

    def affine(self, layer: nn.Module) -> Affine:
        """The arrays of a linear layer; raises UserError for a layer of another kind."""
        return affine_of(layer, self.names)

    def linear(self, g: Graph, x: Value, *layers: Union[nn.Module, Affine]) -> Value:
        """The outputs of linear layers of x: [N, C], side by side, [N, sum of widths]."""
        affines = [layer if isinstance(layer, Affine) else self.affine(layer) for layer in layers]
        affine = side_by_side(affines) if len(affines) > 1 else affines[0]
        if affine.inputs is not None:
            x = g.op("Gather", x, g.constant(affine.inputs), axis=1)
        if affine.outputs is None:
            return self._product(g, x, affine)
        return self._with_gaps(g, x, affine)

    def _with_gaps(self, g: Graph, x: Value, affine: Affine) -> Value:
        """The product with one more output, a zero, which is read wherever pruning left one."""
        weight = np.pad(affine.weight, ((0, 1), (0, 0)))
        bias = None if affine.bias is None else np.pad(affine.bias, (0, 1))
        places = np.full(affine.width, len(affine.weight))
        places[affine.outputs] = np.arange(len(affine.weight))
        y = self._product(g, x, Affine(affine.name, weight, bias, len(weight)))
        return g.op("Gather", y, g.constant(places), axis=1)

    def _product(self, g: Graph, x: Value, affine: Affine) -> Value:
        bias = None if affine.bias is None else g.weight(f"{affine.name}.bias", affine.bias)
        return self.matrices.product(g, x, affine.name, affine.weight, bias)

    def rows(self, g: Graph, ids: Value, table: Tensor) -> Value:
        """The rows ids: [...] of a table of the model: [V, C], as [..., C]."""
        return self.matrices.rows(g, ids, self.names.of(table), array_of(table))

    def vector(self, g: Graph, tensor: Tensor) -> Value:
        """A small tensor of the model as it is."""
        return g.weight(self.names.of(tensor), array_of(tensor))

    def layer_norm(self, g: Graph, x: Value, norm: Optional[nn.LayerNorm]) -> Value:
        """Layer normalisation of x: [..., C]; x itself for None."""
        if norm is None:
            return x
        scale, bias = self.vector(g, norm.weight), self.vector(g, norm.bias)
        return g.op("LayerNormalization", x, scale, bias, axis=-1, epsilon=norm.eps)
