"""The weights of a model in a graph."""

from __future__ import annotations

from dataclasses import replace
from typing import Optional, Sequence, Union

import numpy as np
import torch.nn as nn
from torch import Tensor

from fairseq_lite.export.affines import Affine, Matrix, Names, affine_of, array_of, filled, with_zero
from fairseq_lite.export.graph import Graph, Value
from fairseq_lite.export.matrices import Float32


class Weights:
    """Writes products with a model's weights and look-ups in them, stored as `matrices` does.

    `portable`: whether standard operators of ONNX alone are written.
    """

    def __init__(self, model: nn.Module, matrices: Float32, portable: bool = False):
        self.names = Names(model)
        self.matrices = matrices
        self.portable = portable

    def affine(self, layer: nn.Module) -> Affine:
        """The arrays of a linear layer; raises UserError for a layer of another kind."""
        return affine_of(layer, self.names)

    def linear(self, g: Graph, x: Value, *layers: Union[nn.Module, Affine], relu: bool = False) -> Value:
        """The outputs of linear layers of x: [N, C], or of relu(x), side by side, [N, sum of widths]."""
        affines = [layer if isinstance(layer, Affine) else self.affine(layer) for layer in layers]
        if any(affine.inputs is not None for affine in affines):
            results = [self._of_some_inputs(g, x, affine, relu) for affine in affines]
            return results[0] if len(results) == 1 else g.op("Concat", *results, axis=1)
        first, *others = affines
        if not others and first.outputs is not None and not self.matrices.fills(first.width * first.matrix.columns):
            return self._with_gaps(g, x, first, relu)
        return self._product(g, x, [filled(affine) for affine in affines], relu)

    def _of_some_inputs(self, g: Graph, x: Value, affine: Affine, relu: bool) -> Value:
        if affine.inputs is not None:
            x = g.op("Gather", x, g.constant(affine.inputs), axis=1)
        return self.linear(g, x, replace(affine, inputs=None), relu=relu)

    def _with_gaps(self, g: Graph, x: Value, affine: Affine, relu: bool) -> Value:
        """The product with one more output, a zero, which is read wherever pruning left one."""
        affine, channels = with_zero(affine)
        return g.op("Gather", self._product(g, x, [affine], relu), g.constant(channels), axis=1)

    def _product(self, g: Graph, x: Value, affines: Sequence[Affine], relu: bool) -> Value:
        matrices, bias = [affine.matrix for affine in affines], None
        if any(affine.bias is not None for affine in affines):
            biases = [np.zeros(a.matrix.rows, np.float32) if a.bias is None else a.bias for a in affines]
            bias = g.weight("+".join(affine.name for affine in affines) + ".bias", np.concatenate(biases))
        if sum(matrix.size for matrix in matrices):
            return self.matrices.product(g, x, matrices, bias, relu)
        # pruning left nothing to multiply with or nothing to compute
        same = bias or g.constant(np.zeros(sum(matrix.rows for matrix in matrices), np.float32))
        return g.op("Expand", same, g.shape(g.op("Shape", x, start=0, end=1), 1))

    def rows(self, g: Graph, ids: Value, table: Tensor, factor: float = 1.0) -> Value:
        """The rows ids: [N] of a table of the model: [V, C], times a factor, as [N, C]."""
        return self.matrices.rows(g, ids, Matrix(self.names.of(table), array_of(table)), factor)

    def vector(self, g: Graph, tensor: Tensor) -> Value:
        """A small tensor of the model as it is."""
        return g.weight(self.names.of(tensor), array_of(tensor))

    def layer_norm(self, g: Graph, x: Value, norm: Optional[nn.LayerNorm]) -> Value:
        """Layer normalisation of x: [..., C]; x itself for None."""
        if norm is None:
            return x
        scale, bias = self.vector(g, norm.weight), self.vector(g, norm.bias)
        return g.op("LayerNormalization", x, scale, bias, axis=-1, epsilon=norm.eps)
