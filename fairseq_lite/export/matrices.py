"""How a matrix is stored in a graph, multiplied, and read row by row.

Every way has two methods. `product(g, x, name, weight, bias)` multiplies x: [N, in] with weight: [out, in], adds bias:
[out] and returns [N, out]. `rows(g, ids, name, table)` reads the rows ids: [N] of table: [V, C] and returns [N, C].
"""

from __future__ import annotations

from typing import Optional

import numpy as np
from onnx import TensorProto

from fairseq_lite.errors import UserError
from fairseq_lite.export import blocks
from fairseq_lite.export.graph import CONTRIB, Graph, Value

# Smaller matrices cost next to nothing as they are.
SMALLEST = 1024
# From this size on a product with integers or blocks is faster than one in float32.
LEAST_FOR_INTEGERS = 2**17
# The middle of uint8, which stands for zero.
ZERO = 128
LARGEST = 127
# No scale is less, so that a row of zeros has one.
LEAST_SCALE = 1e-30
# MatMulNBits quantises x to 8 bits, each block of each row by itself.
ACCURACY = 4


class Float32:
    """Matrices in float32, stored as they are."""

    def product(self, g: Graph, x: Value, name: str, weight: np.ndarray, bias: Optional[Value]) -> Value:
        stored = g.weight(name, weight)
        if stored in g.home.initializers:
            return g.op("Gemm", x, stored, bias, transB=1)
        # a graph further out keeps it, as of tied embeddings; what is derived here is packed for the product here
        transposed = g.derived(("transposed", name), lambda home: home.op("Transpose", stored, perm=[1, 0]))
        return g.op("Gemm", x, transposed, bias)

    def rows(self, g: Graph, ids: Value, name: str, table: np.ndarray) -> Value:
        return g.op("Gather", g.weight(name, table), ids)


class Quantised:
    """Matrices stored in a few bits; small ones and those that a way has no product for are decoded at load."""

    def product(self, g: Graph, x: Value, name: str, weight: np.ndarray, bias: Optional[Value]) -> Value:
        if weight.size < SMALLEST:
            return Float32().product(g, x, name, weight, bias)
        if weight.size < LEAST_FOR_INTEGERS:
            return g.op("Gemm", x, self.decoded(g, name, weight), bias, transB=1)
        return self.large_product(g, x, name, weight, bias)

    def rows(self, g: Graph, ids: Value, name: str, table: np.ndarray) -> Value:
        if table.size < SMALLEST:
            return Float32().rows(g, ids, name, table)
        if table.size < LEAST_FOR_INTEGERS:
            return g.op("Gather", self.decoded(g, name, table), ids)
        return self.large_rows(g, ids, name, table)

    def decoded(self, g: Graph, name: str, weight: np.ndarray) -> Value:
        """The matrix in float32, [out, in], which onnxruntime computes when it loads the model."""
        raise NotImplementedError

    def large_product(self, g: Graph, x: Value, name: str, weight: np.ndarray, bias: Optional[Value]) -> Value:
        return g.op("Gemm", x, self.decoded(g, name, weight), bias, transB=1)

    def large_rows(self, g: Graph, ids: Value, name: str, table: np.ndarray) -> Value:
        return g.op("Gather", self.decoded(g, name, table), ids)


class EightBits(Quantised):
    """Integers around 128 with one scale a row; x is quantised too, with one scale a row of its own.

    So a sentence's result does not depend on its batch. Both sides are uint8: with int8 on one side, processors
    without AVX512-VNNI let sums overflow.
    """

    def _stored(self, g: Graph, name: str, weight: np.ndarray):
        codes, scales = f"{name}.codes", f"{name}.scales"
        if not g.keeps(codes):
            scale = np.maximum(np.abs(weight).max(1), LEAST_SCALE) / np.float32(LARGEST)
            g.weight(codes, (np.rint(weight / scale[:, None]) + ZERO).astype(np.uint8))
            g.weight(scales, scale)
        return codes, scales

    def decoded(self, g: Graph, name: str, weight: np.ndarray) -> Value:
        codes, scales = self._stored(g, name, weight)
        return g.derived(
            ("decoded", name), lambda home: _scaled(home, codes, home.op("Unsqueeze", scales, home.constant([1])))
        )

    def large_product(self, g: Graph, x: Value, name: str, weight: np.ndarray, bias: Optional[Value]) -> Value:
        codes, scales = self._stored(g, name, weight)
        transposed = g.derived(("transposed", name), lambda home: home.op("Transpose", codes, perm=[1, 0]))
        # of its own in the graph of the product, which else would read a graph further out at each step
        scales = g.derived(
            ("scales", name), lambda home: home.op("Mul", scales, home.constant(np.float32(1 / LARGEST)))
        )
        zero = g.constant(np.uint8(ZERO))
        largest = g.op("ReduceMax", g.op("Abs", x), g.constant([1]), keepdims=1)
        largest = g.op("Max", largest, g.constant(np.float32(LEAST_SCALE)))
        steps = g.op("Mul", x, g.op("Div", g.constant(np.float32(LARGEST)), largest))
        # Cast cuts off: half a step more rounds
        shifted = g.op("Add", steps, g.constant(np.float32(ZERO + 0.5)))
        integers = g.op("MatMulInteger", g.op("Cast", shifted, to=TensorProto.UINT8), transposed, zero, zero)
        y = g.op("Mul", g.op("Mul", g.op("Cast", integers, to=TensorProto.FLOAT), scales), largest)
        return y if bias is None else g.op("Add", y, bias)

    def large_rows(self, g: Graph, ids: Value, name: str, table: np.ndarray) -> Value:
        codes, scales = self._stored(g, name, table)
        scale = g.op("Unsqueeze", g.op("Gather", scales, ids), g.constant([1]))
        return _scaled(g, g.op("Gather", codes, ids), scale)


def _scaled(g: Graph, codes: Value, scale: Value) -> Value:
    """uint8 around 128 times scales that broadcast."""
    signed = g.op("Sub", g.op("Cast", codes, to=TensorProto.FLOAT), g.constant(np.float32(ZERO)))
    return g.op("Mul", signed, scale)


class FourBits(Quantised):
    """Blocks of 32 entries with a scale each, decoded at load where the graph is to be portable."""

    def __init__(self, portable: bool):
        self.portable = portable

    def _stored(self, g: Graph, name: str, weight: np.ndarray):
        """Two codes a byte, [out, blocks * 16], and the scales: [out, blocks], in float32 at load."""
        codes, scales = f"{name}.codes", f"{name}.scales"
        if not g.keeps(codes):
            block_codes, block_scales = blocks.quantised(weight)
            g.weight(codes, blocks.packed(block_codes).reshape(len(weight), -1))
            g.weight(scales, block_scales)
        return codes, g.derived(("scales", name), lambda home: home.op("Cast", scales, to=TensorProto.FLOAT))

    def decoded(self, g: Graph, name: str, weight: np.ndarray) -> Value:
        codes, scales = self._stored(g, name, weight)
        out, width = weight.shape

        def write(home: Graph) -> Value:
            entries = home.op("Sub", unpacked(home, codes), home.constant(np.float32(blocks.MIDDLE)))
            in_blocks = home.reshape(entries, out, -1, blocks.BLOCK)
            whole = home.op("Mul", in_blocks, home.op("Unsqueeze", scales, home.constant([2])))
            return _first_columns(home, home.reshape(whole, out, -1), width)

        return g.derived(("decoded", name), write)

    def large_product(self, g: Graph, x: Value, name: str, weight: np.ndarray, bias: Optional[Value]) -> Value:
        if self.portable:
            return super().large_product(g, x, name, weight, bias)
        codes, scales = self._stored(g, name, weight)
        out, width = weight.shape
        shape = (out, -1, blocks.BLOCK // 2)
        in_blocks = g.derived(("in blocks", name), lambda home: home.reshape(codes, *shape))
        y = g.op(
            "MatMulNBits",
            *(x, in_blocks, scales),
            domain=CONTRIB,
            K=width,
            N=out,
            bits=4,
            block_size=blocks.BLOCK,
            accuracy_level=ACCURACY,
        )
        return y if bias is None else g.op("Add", y, bias)

    def large_rows(self, g: Graph, ids: Value, name: str, table: np.ndarray) -> Value:
        if self.portable:
            return super().large_rows(g, ids, name, table)
        codes, scales = self._stored(g, name, table)
        axes = {"gather_axis": 0, "quantize_axis": 1, "block_size": blocks.BLOCK, "bits": 4}
        rows = g.op("GatherBlockQuantized", codes, ids, scales, domain=CONTRIB, **axes)
        return _first_columns(g, rows, table.shape[1])


def _first_columns(g: Graph, x: Value, width: int) -> Value:
    """x: [N, C] up to the column `width`, where blocks have filled up the rest."""
    if width % blocks.BLOCK == 0:
        return x
    return g.op("Slice", x, g.constant([0]), g.constant([width]), g.constant([1]))


def unpacked(g: Graph, codes: Value) -> Value:
    """The codes of two a byte, [out, n], in float32: [out, n, 2], the lower half first."""
    low = g.op("BitwiseAnd", codes, g.constant(np.uint8(15)))
    high = g.op("BitShift", codes, g.constant(np.uint8(4)), direction="RIGHT")
    pairs = [g.op("Unsqueeze", half, g.constant([2])) for half in (low, high)]
    return g.op("Cast", g.op("Concat", *pairs, axis=2), to=TensorProto.FLOAT)


def matrices_of(bits: int, portable: bool):
    """The way to store matrices in so many bits a weight; raises UserError for a number that there is none for."""
    ways = {32: Float32, 8: EightBits, 4: lambda: FourBits(portable)}
    if bits not in ways:
        raise UserError(f"bits {bits}: must be one of {', '.join(map(str, ways))}")
    return ways[bits]()
