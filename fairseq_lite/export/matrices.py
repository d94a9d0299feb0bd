"""How matrices are stored in a graph, multiplied, and read row by row."""

from __future__ import annotations

from typing import Callable, Optional, Sequence

import numpy as np
from onnx import TensorProto

from fairseq_lite.export.affines import Matrix
from fairseq_lite.export.graph import Graph, Value
from fairseq_lite.export.levels import bits_of, levels_of, pack

# Smaller matrices cost next to nothing as they are.
SMALLEST = 1024
# Entries from which on a matrix is large: a row's product with it costs more than the operators beside it.
LARGE = 2**17


class Float32:
    """Matrices in float32: stored as they are, or as codes where they have few values, as compressed ones do."""

    def product(
        self, g: Graph, x: Value, matrices: Sequence[Matrix], bias: Optional[Value], relu: bool = False
    ) -> Value:
        """x: [N, in], or relu(x), times matrices: [out, in] each, plus bias: [sum of out]; returns [N, sum of out]."""
        return self._product_of_decoded(g, x, matrices, bias, relu)

    def fills(self, entries: int) -> bool:
        """Whether rows of zeros, up to so many entries in all, cost less than putting zeros between the outputs."""
        return entries < LARGE

    def rows(self, g: Graph, ids: Value, matrix: Matrix, factor: float = 1.0) -> Value:
        """The rows ids: [N] of a matrix: [V, C], times a factor, as [N, C]."""
        return scaled(g, g.op("Gather", self.decoded(g, matrix), ids), factor)

    def product_of_rows(self, g: Graph, ids: Value, matrix: Matrix) -> Callable[[Graph, Value], Value]:
        """Put the rows ids: [W] of a matrix: [V, C] together, and return the product with them.

        It is a function of a body of g and x: [N, C], and returns [N, W].
        """
        rows = g.op("Transpose", self.rows(g, ids, matrix), perm=[1, 0])
        return lambda body, x: body.op("MatMul", x, rows)

    def decoded(self, g: Graph, matrix: Matrix) -> Value:
        """A matrix without its rows of zeros, [stored, in], in float32; it may be a weight of a graph further out."""
        found = levels_of(matrix.entries) if matrix.entries.size >= SMALLEST else None
        if found is None:
            return g.weight(matrix.name, matrix.entries)
        codes, levels = found
        bits = bits_of(len(levels))
        kept = f"{matrix.name}.level_codes", f"{matrix.name}.levels"
        stored = g.weight(kept[0], pack(codes, bits)), g.weight(kept[1], levels)
        width = matrix.entries.shape[1]

        def write(home: Graph) -> Value:
            whole = home.op("Cast", unpacked(home, stored[0], bits, width), to=TensorProto.INT32)
            return home.op("Gather", stored[1], whole)

        return g.derived(("decoded", matrix.name), write)

    def _product_of_decoded(
        self, g: Graph, x: Value, matrices: Sequence[Matrix], bias: Optional[Value], relu: bool
    ) -> Value:
        x = g.op("Relu", x) if relu else x
        parts = [
            with_rows(g, self.decoded(g, matrix), matrix, np.zeros((1, matrix.columns), np.float32))
            for matrix in matrices
        ]
        if len(parts) == 1 and parts[0] in g.home.initializers:
            return g.op("Gemm", x, parts[0], bias, transB=1)
        if len(parts) > 1:
            return g.op("Gemm", x, joined(g, "joined", parts, matrices), bias, transB=1)
        # a graph further out may keep it, as of tied embeddings; what is derived here is packed for the product here
        key = ("transposed", matrices[0].key)
        transposed = g.derived(key, lambda home: home.op("Transpose", parts[0], perm=[1, 0]))
        return g.op("Gemm", x, transposed, bias)


def scaled(g: Graph, x: Value, factor: float) -> Value:
    """x times a number."""
    return x if factor == 1 else g.op("Mul", x, g.constant(np.float32(factor)))


def scaled_at_load(g: Graph, x: Value, factor: float) -> Value:
    """Weights times a number, computed when the model is loaded."""
    return g.derived(("scaled", x, factor), lambda home: scaled(home, x, factor))


def with_rows(g: Graph, value: Value, matrix: Matrix, zero: np.ndarray) -> Value:
    """What is stored of a matrix, a row each, with `zero`: [1, ...] for the rows of zeros."""
    if matrix.places is None:
        return value
    return g.derived(
        ("placed", value, matrix.key),
        lambda home: home.op(
            "Gather", home.op("Concat", value, home.constant(zero), axis=0), home.constant(matrix.places), axis=0
        ),
    )


def unpacked(g: Graph, codes: Value, bits: int, width: int) -> Value:
    """The first `width` codes of each row of bytes, the lowest bits first; uint8: [rows, bytes] to [rows, width]."""
    if bits == 8:
        return codes
    shifts = g.constant(np.arange(0, 8, bits, dtype=np.uint8))
    apart = g.op("BitShift", g.op("Unsqueeze", codes, g.constant([2])), shifts, direction="RIGHT")
    whole = g.reshape(g.op("BitwiseAnd", apart, g.constant(np.uint8(2**bits - 1))), 0, -1)
    return first_columns(g, whole, width)


def first_columns(g: Graph, x: Value, width: int) -> Value:
    """x: [N, C] up to the column `width`."""
    return g.op("Slice", x, g.constant([0]), g.constant([width]), g.constant([1]))


class Quantised(Float32):
    """Matrices in a few bits; small ones, and those that have no product of their own, are decoded at load.

    A matrix that has no more values than codes of these bits, as a compressed one, keeps its values.
    """

    bits: int

    def keeps_levels(self, matrix: Matrix) -> bool:
        """Whether the matrix is stored as codes of its own values."""
        found = levels_of(matrix.entries)
        return found is not None and bits_of(len(found[1])) <= self.bits

    def product(
        self, g: Graph, x: Value, matrices: Sequence[Matrix], bias: Optional[Value], relu: bool = False
    ) -> Value:
        if self.is_large(g, matrices):
            return self.large_product(g, x, matrices, bias, relu)
        return self._product_of_decoded(g, x, matrices, bias, relu)

    def is_large(self, g: Graph, matrices: Sequence[Matrix]) -> bool:
        """Whether matrices are large together for the products of a graph."""
        return self.counts(g, matrices) * sum(matrix.size for matrix in matrices) >= LARGE

    def counts(self, g: Graph, matrices: Sequence[Matrix]) -> int:
        """How many times their entries the matrices count where the products of a graph pay sooner."""
        return 1

    def is_large_table(self, matrix: Matrix) -> bool:
        """Whether single rows of a matrix are read from its few bits."""
        return matrix.size >= LARGE

    def rows(self, g: Graph, ids: Value, matrix: Matrix, factor: float = 1.0) -> Value:
        rows = self.large_rows if self.is_large_table(matrix) else super().rows
        return rows(g, ids, matrix, factor)

    def decoded(self, g: Graph, matrix: Matrix) -> Value:
        if matrix.entries.size < SMALLEST or self.keeps_levels(matrix):
            return super().decoded(g, matrix)
        return self.decoded_of_codes(g, matrix)

    def decoded_of_codes(self, g: Graph, matrix: Matrix) -> Value:
        """A matrix without its rows of zeros, [stored, in], in float32."""
        raise NotImplementedError

    def large_product(self, g: Graph, x: Value, matrices: Sequence[Matrix], bias: Optional[Value], relu: bool) -> Value:
        """`product` of matrices that are large together."""
        return self._product_of_decoded(g, x, matrices, bias, relu)

    def large_rows(self, g: Graph, ids: Value, matrix: Matrix, factor: float) -> Value:
        """`rows` of a matrix that is large."""
        return super().rows(g, ids, matrix, factor)


def joined(g: Graph, label: str, parts: Sequence[Value], matrices: Sequence[Matrix]) -> Value:
    """What is stored of several matrices, one below the other."""
    if len(parts) == 1:
        return parts[0]
    keys = [matrix.key for matrix in matrices]
    return g.derived((label, *keys), lambda home: home.op("Concat", *parts, axis=0))
