"""Matrices in 8 bits."""

from __future__ import annotations

from typing import Callable, Optional, Sequence, Tuple

import numpy as np
from onnx import TensorProto

from fairseq_lite.export.affines import Matrix
from fairseq_lite.export.graph import Graph, Value
from fairseq_lite.export.matrices import Quantised, joined, scaled_at_load, with_rows

# Entries of a matrix: int8 from -LARGEST to LARGEST.
LARGEST = 127
# Entries of x: uint8 from 0 to 2 * MIDDLE. Processors without AVX512-VNNI add the products of two pairs in 16 bits,
# which hold 2 * 127 * 127, but not 2 * 255 * 127. So x has 7 bits; of what comes out of a ReLU they are 0 to LARGEST.
MIDDLE = 63
# No scale of a matrix is less, so that a row of zeros has one.
LEAST_SCALE = 1e-30


def quantised(matrix: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
    """matrix: [out, in] as codes, int8: [out, in], and the scale of each row, [out, 1]."""
    scale = np.maximum(np.abs(matrix).max(1, keepdims=True), LEAST_SCALE) / np.float32(LARGEST)
    return np.rint(matrix / scale).astype(np.int8), scale.astype(np.float32)


class EightBits(Quantised):
    """Integers with one scale a row; x is quantised too, with one scale a row of its own.

    So a sentence's result does not depend on its batch. Of the pairs of types that MatMulInteger takes, onnxruntime has
    fast kernels for uint8 times int8.
    """

    bits = 8

    def counts(self, g: Graph, matrices: Sequence[Matrix]) -> int:
        # the operators beside a product cost as much for many rows as for one
        return g.rows

    def fills(self, entries: int) -> bool:
        # zeros are put in one at a time, which takes longer than products in integers
        return True

    def _stored(self, g: Graph, matrix: Matrix) -> Tuple[Value, Value]:
        """Codes, [stored, in], and scales, [stored, 1]."""
        if self.keeps_levels(matrix):
            return self._at_load(g, matrix)
        codes, scales = f"{matrix.name}.codes", f"{matrix.name}.scales"
        if not g.keeps(codes):
            for name, array in zip((codes, scales), quantised(matrix.entries)):
                g.weight(name, array)
        return codes, scales

    def _at_load(self, g: Graph, matrix: Matrix) -> Tuple[Value, Value]:
        """The same as `quantised`, when the model is loaded, of a matrix that is stored in another way."""
        entries = self.decoded(g, matrix)

        def write_scales(home: Graph) -> Value:
            largest = home.op("ReduceMax", home.op("Abs", entries), home.constant([1]), keepdims=1)
            largest = home.op("Max", largest, home.constant(np.float32(LEAST_SCALE)))
            return home.op("Div", largest, home.constant(np.float32(LARGEST)))

        def write_codes(home: Graph) -> Value:
            return home.op("Cast", home.op("Round", home.op("Div", entries, scales)), to=TensorProto.INT8)

        scales = g.derived(("scales at load", matrix.name), write_scales)
        return g.derived(("codes at load", matrix.name), write_codes), scales

    def decoded_of_codes(self, g: Graph, matrix: Matrix) -> Value:
        codes, scales = self._stored(g, matrix)
        return g.derived(("decoded", matrix.name), lambda home: _scaled(home, codes, scales))

    def large_product(self, g: Graph, x: Value, matrices: Sequence[Matrix], bias: Optional[Value], relu: bool) -> Value:
        y = _product(g, x, *self._whole(g, matrices), relu)
        return y if bias is None else g.op("Add", y, bias)

    def product_of_rows(self, g: Graph, ids: Value, matrix: Matrix) -> Callable[[Graph, Value], Value]:
        for_one_row = super().product_of_rows(g, ids, matrix)
        if not self.is_large_table(matrix):
            return for_one_row
        codes, scales = (g.op("Gather", stored, ids) for stored in self._stored(g, matrix))
        columns, scales = g.op("Transpose", codes, perm=[1, 0]), g.reshape(scales, -1)
        # the integers are not packed before, which one row would take longer for than it saves
        return lambda body, x: for_one_row(body, x) if body.rows == 1 else _product(body, x, columns, scales)

    def _whole(self, g: Graph, matrices: Sequence[Matrix]) -> Tuple[Value, Value]:
        """Codes, [in, out], and the scale of each column, [out]."""
        stored = [self._stored(g, matrix) for matrix in matrices]
        codes = [
            with_rows(g, values[0], matrix, np.zeros((1, matrix.entries.shape[1]), np.int8))
            for values, matrix in zip(stored, matrices)
        ]
        scales = [
            with_rows(g, values[1], matrix, np.ones((1, 1), np.float32)) for values, matrix in zip(stored, matrices)
        ]
        keys = [matrix.key for matrix in matrices]
        codes, scales = joined(g, "codes", codes, matrices), joined(g, "scales", scales, matrices)
        return (
            g.derived(("codes transposed", *keys), lambda home: home.op("Transpose", codes, perm=[1, 0])),
            g.derived(("scales flat", *keys), lambda home: home.reshape(scales, -1)),
        )

    def large_rows(self, g: Graph, ids: Value, matrix: Matrix, factor: float) -> Value:
        codes, scales = self._stored(g, matrix)
        scales = scaled_at_load(g, scales, factor)
        return _scaled(g, g.op("Gather", codes, ids), g.op("Gather", scales, ids))


class EightBitsAtLoad(EightBits):
    """The same for matrices that are stored in another way, whose integers are made when the model is loaded."""

    def __init__(self, stored: Quantised):
        self.stored = stored

    def decoded(self, g: Graph, matrix: Matrix) -> Value:
        return self.stored.decoded(g, matrix)

    def _stored(self, g: Graph, matrix: Matrix) -> Tuple[Value, Value]:
        return self._at_load(g, matrix)


def _product(g: Graph, x: Value, codes: Value, scales: Value, relu: bool = False) -> Value:
    """x: [N, in], or relu(x), times codes: [in, out] times scales: [out]; returns [N, out]."""
    largest = g.op("ReduceMax", x if relu else g.op("Abs", x), g.constant([1]), keepdims=0)
    if relu:
        largest = g.op("Max", largest, g.constant(np.float32(0)))
    # a row of zeros has steps of 0: its integers may be any, since they are multiplied by that at last
    steps = g.op("Mul", largest, g.constant(np.float32(1 / (LARGEST if relu else MIDDLE))))
    if relu:
        # negative entries become 0, which is the least of uint8
        integers = g.op("MatMulInteger", g.op("QuantizeLinear", x, steps, axis=0), codes)
    else:
        # the largest entry is MIDDLE steps, in every row: that gives the operator a middle for each without a shape
        middle = g.op("QuantizeLinear", largest, steps, axis=0)
        shifted = g.op("QuantizeLinear", x, steps, middle, axis=0)
        integers = g.op("MatMulInteger", shifted, codes, g.constant(np.uint8(MIDDLE)))
    # an operator that takes a scale for each row goes over memory once, the arithmetic once for each operation
    return g.op("Mul", g.op("DequantizeLinear", integers, steps, axis=0), scales)


def _scaled(g: Graph, codes: Value, scales: Value) -> Value:
    """Integers times scales that broadcast.

    With DequantizeLinear onnxruntime would undo in each turn of a loop what is done once before it.
    """
    return g.op("Mul", g.op("Cast", codes, to=TensorProto.FLOAT), scales)
