"""Scalar quantisers of rows of weights: evenly spaced levels, and codebooks by one-dimensional k-means.

Both take x: [R, N] with mask: [R, N], true where a weight counts, and turn it into indices of `bits` bits.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

BLOCK = 1 << 18
ITERATIONS = 100
# What a centre may still move at the end, as a share of the mean distance between centres.
TOLERANCE = 1e-3


@dataclass
class Grid:
    """Levels low + step * index of each row; low, step: [R, 1] in float32. The ends of a row are levels."""

    low: Tensor
    step: Tensor

    def encode(self, x: Tensor) -> Tensor:
        """Indices of the nearest levels, uint8: [R, N]."""
        step = torch.where(self.step > 0, self.step, torch.ones_like(self.step))
        return ((x - self.low) / step).round_().clamp_(0, 255).byte()

    def decode(self, indices: Tensor) -> Tensor:
        """Weights of indices: [R, N], in float32."""
        return indices.float().mul_(self.step).add_(self.low)

    def rows(self, first: int, last: int) -> Grid:
        return Grid(self.low[first:last], self.step[first:last])


@dataclass
class Codebook:
    """Levels centre + scale * code of each row, or of all rows together: R or 1 is G.

    codes: [G, K], ascending, in half precision; centre, scale: [G, 1] in float32.
    """

    codes: Tensor
    centre: Tensor
    scale: Tensor

    @property
    def levels(self) -> Tensor:
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

    def rows(self, first: int, last: int) -> Codebook:
        if self.codes.size(0) == 1:
            return self
        return Codebook(self.codes[first:last], self.centre[first:last], self.scale[first:last])


def decode_in_blocks(quantiser, indices: Tensor) -> Tensor:
    """Weights of indices: [R, N], made in blocks of rows, for what decoding needs beside its result."""
    weights = torch.empty(indices.shape)
    height = max(1, BLOCK // max(1, indices.size(1)))
    for first in range(0, indices.size(0), height):
        last = first + height
        weights[first:last] = quantiser.rows(first, last).decode(indices[first:last])
    return weights


def fit_grid(x: Tensor, mask: Tensor, bits: int) -> Grid:
    """2 ** bits evenly spaced levels from the smallest to the largest weight of each row."""
    infinity = torch.full((), float("inf"))
    low = torch.where(mask, x, infinity).amin(1, keepdim=True)
    high = torch.where(mask, x, -infinity).amax(1, keepdim=True)
    return Grid(low, (high - low) / (2**bits - 1))


def fit_codebook(x: Tensor, mask: Tensor, bits: int, per_row: bool = False) -> Codebook:
    """2 ** bits levels by k-means, of each row or of all of them."""
    if not per_row:
        x, mask = x.reshape(1, -1), mask.reshape(1, -1)
    levels = kmeans(x, mask, 2**bits)
    # Half precision is finest around zero, so the levels are stored relative to the middle of their range.
    low, high = levels[:, :1], levels[:, -1:]
    centre, scale = ((low + high) / 2).float(), ((high - low) / 2).float()
    codes = (levels - centre) / torch.where(scale > 0, scale, torch.ones_like(scale))
    return Codebook(codes.half(), centre, scale)


def kmeans(x: Tensor, mask: Tensor, k: int) -> Tensor:
    """Centres of k clusters of the masked entries of each row, ascending; [R, k] in float64.

    Lloyd's iteration from two starts, of which the better end counts: evenly spaced centres, so that no row ends
    worse than on a grid, and a companded start. Nothing in it is random. Rows of at most k distinct values keep them.
    """
    rows = _SortedRows(x, mask)
    ends = [_lloyd(rows, start(rows, k)) for start in (_evenly_spaced, _companded)]
    errors = torch.stack([rows.squared_error(centres) for centres in ends])
    centres = torch.where(errors[0] <= errors[1], *ends)
    return _distinct_values(rows, centres)


class _SortedRows:
    """Rows in ascending order with their sums so far: a cluster is a range of it, its mean a difference of two sums."""

    def __init__(self, x: Tensor, mask: Tensor):
        beyond = torch.full((), float("inf"), dtype=torch.double)
        self.values = torch.where(mask, x.double(), beyond).sort(dim=1).values
        self.count = mask.sum(1, keepdim=True)
        finite = torch.where(self.values < beyond, self.values, torch.zeros_like(beyond))
        self.sums, self.squares = (_sums_so_far(terms) for terms in (finite, finite**2))

    def at(self, rank: Tensor) -> Tensor:
        """The values of some ranks of each row."""
        return self.values.gather(1, rank)

    def bounds(self, centres: Tensor) -> Tensor:
        """Ranks at which the clusters of some centres begin, and the last one ends: [R, k + 1]."""
        edges = torch.searchsorted(self.values, (centres[:, 1:] + centres[:, :-1]) / 2)
        inner = torch.minimum(edges, self.count)
        return torch.cat([torch.zeros_like(self.count), inner, self.count], dim=1)

    def squared_error(self, centres: Tensor) -> Tensor:
        """Sum of squared distances from the nearest centre, of each row: [R, 1]."""
        bounds = self.bounds(centres)
        sums, squares = (so_far.gather(1, bounds).diff(dim=1) for so_far in (self.sums, self.squares))
        return (squares - 2 * centres * sums + centres**2 * bounds.diff(dim=1)).sum(1, keepdim=True)


def _sums_so_far(terms: Tensor) -> Tensor:
    return torch.nn.functional.pad(terms.cumsum(1), (1, 0))


def _lloyd(rows: _SortedRows, centres: Tensor) -> Tensor:
    """Move each centre to the mean of what is nearest to it until all rest; one without members stays."""
    at_rest = TOLERANCE * (rows.at(rows.count - 1) - rows.values[:, :1]) / centres.size(1)
    for _ in range(ITERATIONS):
        bounds = rows.bounds(centres)
        sizes, sums = bounds.diff(dim=1), rows.sums.gather(1, bounds).diff(dim=1)
        moved = torch.where(sizes > 0, sums / sizes.clamp(min=1), centres)
        resting = ((moved - centres).abs() <= at_rest).all()
        centres = moved
        if resting:
            break
    return centres


def _evenly_spaced(rows: _SortedRows, k: int) -> Tensor:
    low, high = rows.values[:, :1], rows.at(rows.count - 1)
    return low + (high - low) * torch.linspace(0, 1, k, dtype=torch.double)


def _companded(rows: _SortedRows, k: int) -> Tensor:
    """Centres as dense as the cube root of the density, which is best for many levels (Panter and Dite, 1951)."""
    gaps = 4 * k
    shares = torch.linspace(0, 1, gaps + 1, dtype=torch.double)
    quantiles = rows.at((shares * (rows.count - 1)).round().long())
    # Gaps hold equal shares, so the density is 1 / gap, and its cube root over the gap comes to gap ** (2 / 3).
    mass = _sums_so_far(quantiles.diff(dim=1) ** (2 / 3))
    targets = mass[:, -1:] * ((torch.arange(k) + 0.5) / k)
    right = torch.searchsorted(mass, targets).clamp(1, gaps)
    left = right - 1
    before, after = mass.gather(1, left), mass.gather(1, right)
    within = (targets - before) / (after - before).clamp(min=torch.finfo(torch.double).tiny)
    return torch.lerp(quantiles.gather(1, left), quantiles.gather(1, right), within)


def _distinct_values(rows: _SortedRows, centres: Tensor) -> Tensor:
    """The centres, but in rows of no more distinct values than centres these values, the last one repeated."""
    k = centres.size(1)
    counted = torch.arange(rows.values.size(1)) < rows.count
    new = torch.nn.functional.pad(rows.values.diff(dim=1) > 0, (1, 0)) & counted
    number = new.cumsum(1)
    few = number[:, -1:] < k
    largest = rows.at(rows.count - 1)
    values = torch.where(counted, rows.values, largest)
    distinct = largest.expand_as(centres).clone().scatter_(1, number.clamp(max=k - 1), values)
    return torch.where(few, distinct, centres)
