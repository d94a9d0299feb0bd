"""Scalar quantisers of rows of weights: evenly spaced levels, and codebooks by one-dimensional k-means.

Each takes x: [R, N] with mask: [R, N], true where a weight counts, and turns it into indices of `bits` bits. QUANTISERS
names them all: a quantiser is a class of five methods, and an entry.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Dict, Type, Union

import torch
from torch import Tensor

from fairseq_lite.compression.kmeans import kmeans
from fairseq_lite.compression.packing import Stream, decode_tensor, encode_tensor

# Weights that are decoded at once.
BLOCK = 1 << 18


@dataclass
class Grid:
    """Levels low + step * index of each row; low, step: [R, 1] in float32. The ends of a row are levels."""

    low: Tensor
    step: Tensor

    @classmethod
    def fit(cls, x: Tensor, mask: Tensor, bits: int, per_row: bool = True) -> Grid:
        """2 ** bits evenly spaced levels from the smallest to the largest weight of each row."""
        infinity = torch.full((), float("inf"))
        low = torch.where(mask, x, infinity).amin(1, keepdim=True)
        high = torch.where(mask, x, -infinity).amax(1, keepdim=True)
        return cls(low, (high - low) / (2**bits - 1))

    def encode(self, x: Tensor) -> Tensor:
        """Indices of the nearest levels, uint8: [R, N]."""
        step = torch.where(self.step > 0, self.step, torch.ones_like(self.step))
        return ((x - self.low) / step).round_().clamp_(0, 255).byte()

    def decode(self, indices: Tensor) -> Tensor:
        """Weights of indices: [R, N], in float32."""
        return indices.float().mul_(self.step).add_(self.low)

    def streams(self, entropy_code: bool) -> Dict[str, Stream]:
        """What `from_streams` rebuilds the levels from."""
        return {"levels": encode_tensor(torch.cat([self.low, self.step], dim=1), 8, entropy_code)}

    @classmethod
    def from_streams(cls, streams: Dict[str, Stream], rows: int, bits: int, per_row: bool) -> Grid:
        """The levels of [rows, N] weights; raises Damaged."""
        levels = decode_tensor(streams["levels"], torch.float, (rows, 2))
        return cls(*levels.split(1, dim=1))

    def rows(self, first: int, last: int) -> Grid:
        """The levels of some rows alone."""
        return Grid(self.low[first:last], self.step[first:last])


@dataclass
class Codebook:
    """Levels centre + scale * code of each row, or of all rows together: R or 1 is G.

    codes: [G, K], ascending, in half precision; centre, scale: [G, 1] in float32.
    """

    codes: Tensor
    centre: Tensor
    scale: Tensor

    @classmethod
    def fit(cls, x: Tensor, mask: Tensor, bits: int, per_row: bool = False) -> Codebook:
        """2 ** bits levels by k-means, of each row or of all of them."""
        if not per_row:
            x, mask = x.reshape(1, -1), mask.reshape(1, -1)
        levels = kmeans(x, mask, 2**bits)
        # Half precision is finest around zero, so the levels are stored relative to the middle of their range.
        low, high = levels[:, :1], levels[:, -1:]
        centre, scale = ((low + high) / 2).float(), ((high - low) / 2).float()
        codes = (levels - centre) / torch.where(scale > 0, scale, torch.ones_like(scale))
        return cls(codes.half(), centre, scale)

    @property
    def levels(self) -> Tensor:
        """The values that weights may have: [G, K], in float32."""
        return self.codes.float().mul_(self.scale).add_(self.centre)

    def encode(self, x: Tensor) -> Tensor:
        """Indices of the nearest levels, uint8: [R, N]."""
        levels = self.levels
        edges = (levels[:, 1:] + levels[:, :-1]) / 2
        flat = x.reshape(levels.size(0), -1).contiguous()
        return torch.searchsorted(edges, flat, out_int32=True).byte().view_as(x)

    def decode(self, indices: Tensor) -> Tensor:
        """Weights of indices: [R, N], in float32."""
        flat = indices.reshape(self.codes.size(0), -1).long()
        return self.levels.gather(1, flat).view(indices.shape)

    def streams(self, entropy_code: bool) -> Dict[str, Stream]:
        """What `from_streams` rebuilds the levels from."""
        return {
            "affine": encode_tensor(torch.cat([self.centre, self.scale], dim=1), 8, entropy_code),
            "levels": encode_tensor(self.codes, 8, entropy_code),
        }

    @classmethod
    def from_streams(cls, streams: Dict[str, Stream], rows: int, bits: int, per_row: bool) -> Codebook:
        """The levels of [rows, N] weights; raises Damaged."""
        groups = rows if per_row else 1
        codes = decode_tensor(streams["levels"], torch.half, (groups, 2**bits))
        affine = decode_tensor(streams["affine"], torch.float, (groups, 2))
        return cls(codes, *affine.split(1, dim=1))

    def rows(self, first: int, last: int) -> Codebook:
        """The levels of some rows alone."""
        if self.codes.size(0) == 1:
            return self
        return Codebook(self.codes[first:last], self.centre[first:last], self.scale[first:last])


Quantiser = Union[Codebook, Grid]
QUANTISERS: Dict[str, Type[Quantiser]] = {"kmeans": Codebook, "linear": Grid}


def decode_in_blocks(quantiser: Quantiser, indices: Tensor) -> Tensor:
    """Weights of indices: [R, N], made in blocks of rows, for what decoding needs beside its result."""
    weights = torch.empty(indices.shape)
    height = max(1, BLOCK // max(1, indices.size(1)))
    for first in range(0, indices.size(0), height):
        last = first + height
        weights[first:last] = quantiser.rows(first, last).decode(indices[first:last])
    return weights
