"""One-dimensional k-means of many rows together, each sorted, so that a cluster is a range of ranks.

x: [R, N] with mask: [R, N], true where an entry counts.
"""

from __future__ import annotations

import torch
from torch import Tensor

ITERATIONS = 100
# What a centre may still move at the end, as a share of the mean distance between centres.
TOLERANCE = 1e-3


def kmeans(x: Tensor, mask: Tensor, k: int) -> Tensor:
    """Centres of k clusters of the masked entries of each row, ascending; [R, k] in float64.

    Lloyd's iteration from two starts, of which the better end counts: evenly spaced centres, so that no row ends
    worse than on a grid, and a companded start. Nothing in it is random. Rows of at most k distinct values keep them.
    """
    rows = _SortedRows(x, mask)
    ends = [_lloyd(rows, start(rows, k)) for start in (_evenly_spaced, _companded)]
    errors = torch.stack([rows.squared_error(centres) for centres in ends])
    centres = torch.where(errors[0] <= errors[1], ends[0], ends[1])
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
