"""Matrices in 4 bits, 32 entries of a row sharing a scale."""

from __future__ import annotations

from typing import Optional, Sequence, Tuple

import numpy as np
from onnx import TensorProto

from fairseq_lite.export.affines import Matrix
from fairseq_lite.export.graph import CONTRIB, SENTENCE_ROWS, Graph, Value
from fairseq_lite.export.integers import EightBitsAtLoad
from fairseq_lite.export.levels import pack
from fairseq_lite.export.matrices import Quantised, first_columns, joined, scaled_at_load, unpacked, with_rows

BITS = 4
BLOCK = 32
# MatMulNBits quantises x to 8 bits, each block of each row by itself.
# For one row MatMulNBits, which has no operators beside it, pays from an eighth of the entries on.
SOONER = 8
ACCURACY = 4
# An entry is (code - MIDDLE) * scale.
MIDDLE = 8
# Parts of the scale that lets the largest entry of a block be the lowest level; less of it clips that entry.
CANDIDATES = (1.0, 0.95, 0.9, 0.85, 0.8, 0.75)


def in_blocks(matrix: np.ndarray) -> np.ndarray:
    """matrix: [out, in] as [out, blocks, BLOCK], with zeros at the end."""
    out, width = matrix.shape
    return np.pad(matrix, ((0, 0), (0, -width % BLOCK))).reshape(out, -1, BLOCK)


def quantised(matrix: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
    """matrix: [out, in] as codes below 16: [out, blocks, BLOCK] and scales in half precision: [out, blocks].

    Of a few scales, each block takes the one with the least squared error.
    """
    blocks = in_blocks(matrix)
    largest = np.take_along_axis(blocks, np.abs(blocks).argmax(-1)[..., None], -1)[..., 0]
    best_error = np.full(largest.shape, np.inf, np.float32)
    best_scale = np.zeros(largest.shape, np.float16)
    for part in CANDIDATES:
        scale = (largest * np.float32(-part / MIDDLE)).astype(np.float16)
        error = np.square(decoded(codes_of(blocks, scale), scale) - blocks).sum(-1)
        better = error < best_error
        best_error, best_scale = np.where(better, error, best_error), np.where(better, scale, best_scale)
    return codes_of(blocks, best_scale), best_scale


def codes_of(blocks: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """The nearest codes of blocks: [..., BLOCK] at scales: [...]."""
    divisor = np.where(scale == 0, np.float32(1), scale.astype(np.float32))[..., None]
    return np.clip(np.rint(blocks / divisor) + MIDDLE, 0, 15).astype(np.uint8)


def decoded(codes: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """The entries of codes: [..., BLOCK] at scales: [...]."""
    return (codes.astype(np.float32) - MIDDLE) * scale.astype(np.float32)[..., None]


class FourBits(Quantised):
    """Blocks of 32 entries with a scale each, decoded at load where the graph is to be portable.

    Two kinds of products are in 8 bits: with matrices that keep their values, which no scales give, and with the many
    rows of whole sentences, for which MatMulNBits is slow.
    """

    bits = BITS

    def __init__(self, portable: bool):
        self.portable = portable
        self.in_integers = EightBitsAtLoad(self)

    def _stored(self, g: Graph, matrix: Matrix) -> Tuple[Value, Value]:
        """Two codes a byte, [stored, blocks * 16], and the scales: [stored, blocks], in float32 at load."""
        codes, scales = f"{matrix.name}.codes", f"{matrix.name}.scales"
        if not g.keeps(codes):
            block_codes, block_scales = quantised(matrix.entries)
            g.weight(codes, pack(block_codes.reshape(len(block_codes), -1), BITS))
            g.weight(scales, block_scales)
        key = ("scales", matrix.name)
        return codes, g.derived(key, lambda home: home.op("Cast", scales, to=TensorProto.FLOAT))

    def counts(self, g: Graph, matrices: Sequence[Matrix]) -> int:
        alone = not self.portable and g.rows == 1 and not any(map(self.keeps_levels, matrices))
        return SOONER if alone else super().counts(g, matrices)

    def decoded_of_codes(self, g: Graph, matrix: Matrix) -> Value:
        codes, scales = self._stored(g, matrix)
        stored, width = matrix.entries.shape

        def write(home: Graph) -> Value:
            whole = unpacked(home, codes, BITS, width + -width % BLOCK)
            entries = home.op("Cast", home.reshape(whole, stored, -1, BLOCK), to=TensorProto.FLOAT)
            entries = home.op("Sub", entries, home.constant(np.float32(MIDDLE)))
            entries = home.op("Mul", entries, home.op("Unsqueeze", scales, home.constant([2])))
            return first_columns(home, home.reshape(entries, stored, -1), width)

        return g.derived(("decoded", matrix.name), write)

    def large_product(self, g: Graph, x: Value, matrices: Sequence[Matrix], bias: Optional[Value], relu: bool) -> Value:
        if self.portable:
            return super().large_product(g, x, matrices, bias, relu)
        if g.rows >= SENTENCE_ROWS or all(map(self.keeps_levels, matrices)):
            return self.in_integers.large_product(g, x, matrices, bias, relu)
        codes, scales = self._whole(g, matrices)
        out, width = sum(matrix.rows for matrix in matrices), matrices[0].columns
        options = {"K": width, "N": out, "bits": BITS, "block_size": BLOCK, "accuracy_level": ACCURACY}
        x = g.op("Relu", x) if relu else x
        # what is left out: the middle of other codes, and an order of columns
        return g.op("MatMulNBits", x, codes, scales, None, None, bias, domain=CONTRIB, **options)

    def _whole(self, g: Graph, matrices: Sequence[Matrix]) -> Tuple[Value, Value]:
        """Codes, [out, blocks, 16], and scales, [out, blocks]."""
        codes, scales = [], []
        for matrix in matrices:
            stored = self._stored(g, matrix)
            blocks = -(-matrix.entries.shape[1] // BLOCK)
            zero = np.full((1, blocks * BLOCK // 2), MIDDLE | MIDDLE << BITS, np.uint8)
            codes.append(with_rows(g, stored[0], matrix, zero))
            scales.append(with_rows(g, stored[1], matrix, np.zeros((1, blocks), np.float32)))
        whole = joined(g, "codes", codes, matrices)
        keys = [matrix.key for matrix in matrices]
        in_blocks = g.derived(("in blocks", *keys), lambda home: home.reshape(whole, 0, -1, BLOCK // 2))
        return in_blocks, joined(g, "joined scales", scales, matrices)

    def large_rows(self, g: Graph, ids: Value, matrix: Matrix, factor: float) -> Value:
        if self.portable:
            return super().large_rows(g, ids, matrix, factor)
        if self.keeps_levels(matrix):
            return self.in_integers.large_rows(g, ids, matrix, factor)
        codes, scales = self._stored(g, matrix)
        scales = scaled_at_load(g, scales, factor)
        axes = {"gather_axis": 0, "quantize_axis": 1, "block_size": BLOCK, "bits": BITS}
        rows = g.op("GatherBlockQuantized", codes, ids, scales, domain=CONTRIB, **axes)
        width = matrix.columns
        return rows if width % BLOCK == 0 else first_columns(g, rows, width)
