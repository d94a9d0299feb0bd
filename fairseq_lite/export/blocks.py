"""Matrices in 4 bits, 32 entries of a row sharing a scale."""

from __future__ import annotations

from typing import Tuple

import numpy as np

BLOCK = 32
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


def packed(codes: np.ndarray) -> np.ndarray:
    """Two codes a byte along the last axis, the first in the lower half."""
    return codes[..., ::2] | codes[..., 1::2] << 4
