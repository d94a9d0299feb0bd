"""Matrices of few different values, as codebooks leave them, in codes of a few bits."""

from __future__ import annotations

from typing import Optional, Tuple

import numpy as np

# More values do not fit into codes of 8 bits.
MOST = 256
SAMPLE = 4096


def levels_of(matrix: np.ndarray) -> Optional[Tuple[np.ndarray, np.ndarray]]:
    """Codes, uint8: [out, in], and levels, [n], with matrix = levels[codes]; None if there are too many values."""
    if len(np.unique(matrix.ravel()[:SAMPLE])) > MOST:
        return None
    levels, codes = np.unique(matrix, return_inverse=True)
    if len(levels) > MOST:
        return None
    return codes.reshape(matrix.shape).astype(np.uint8), levels


def bits_of(levels: int) -> int:
    """Bits of a code, so many that a byte holds a whole number of codes."""
    return next(bits for bits in (1, 2, 4, 8) if levels <= 2**bits)


def pack(codes: np.ndarray, bits: int) -> np.ndarray:
    """Codes, uint8: [rows, n], side by side in bytes, [rows, bytes], the first in the lowest bits."""
    each = 8 // bits
    padded = np.pad(codes, ((0, 0), (0, -codes.shape[1] % each))).reshape(len(codes), -1, each)
    return np.bitwise_or.reduce(padded << np.arange(0, 8, bits, dtype=np.uint8), axis=-1).astype(np.uint8)
