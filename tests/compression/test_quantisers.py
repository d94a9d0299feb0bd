"""k-means and grids against their definitions, written as loops."""

import pytest
import torch

from fairseq_lite.compression.kmeans import kmeans
from fairseq_lite.compression.quantisers import Codebook, Grid, decode_in_blocks

BITS = range(2, 9)


def everything(x):
    return torch.ones_like(x, dtype=torch.bool)


def weights(rows=24, width=300):
    """Rows of unlike distributions and sizes."""
    scale = torch.logspace(-3, 1, rows).unsqueeze(1)
    x = torch.randn(rows, width)
    x[::3] = x[::3].abs() + 2
    x[1::3] = x[1::3] ** 3
    return x * scale


def naive_lloyd(values, centres):
    """Each value to the nearest centre, each centre to the mean of its values, until nothing changes."""
    centres = list(centres)
    for _ in range(1000):
        clusters = [[] for _ in centres]
        for value in values:
            clusters[min(range(len(centres)), key=lambda c: abs(value - centres[c]))].append(value)
        moved = [sum(cluster) / len(cluster) if cluster else centre for cluster, centre in zip(clusters, centres)]
        if moved == centres:
            return centres
        centres = moved
    raise AssertionError("no end")


def squared_error(values, centres):
    return sum(min((value - centre) ** 2 for centre in centres) for value in values)


def best_error(values, k):
    """The least squared error of any k clusters, by dynamic programming over all ways to cut the sorted values."""
    values = sorted(values)

    def cost(i, j):
        mean = sum(values[i:j]) / (j - i)
        return sum((value - mean) ** 2 for value in values[i:j])

    size = len(values)
    costs = [[cost(i, j) if i < j else 0.0 for j in range(size + 1)] for i in range(size + 1)]
    best = costs[0]
    for _ in range(k - 1):
        best = [min(best[i] + costs[i][j] for i in range(j + 1)) for j in range(size + 1)]
    return best[size]


@pytest.mark.parametrize("k", [4, 8, 16])
def test_kmeans_ends_where_no_centre_wants_to_move(k):
    x = torch.randn(3, 200)
    for row, centres in zip(x.tolist(), kmeans(x, everything(x), k).tolist()):
        assert squared_error(row, centres) <= squared_error(row, naive_lloyd(row, centres)) * 1.01


@pytest.mark.parametrize("k", [2, 4, 7])
def test_kmeans_is_close_to_the_best_clusters(k):
    x = torch.stack([torch.randn(60), torch.rand(60)])
    for row, centres in zip(x.tolist(), kmeans(x, everything(x), k).tolist()):
        assert best_error(row, k) * (1 - 1e-9) <= squared_error(row, centres) <= best_error(row, k) * 1.15


def test_kmeans_of_rows_is_kmeans_of_each():
    x = weights()
    together = kmeans(x, everything(x), 16)
    each = [kmeans(row.unsqueeze(0), everything(row.unsqueeze(0)), 16) for row in x]
    torch.testing.assert_close(together, torch.cat(each), rtol=1e-3, atol=1e-3)


def test_kmeans_sees_only_what_the_mask_shows():
    x = torch.randn(5, 100)
    mask = torch.arange(100).expand(5, -1) % torch.arange(2, 7).unsqueeze(1) == 0
    outliers = x.masked_fill(~mask, 1e6)
    for row, shown, centres in zip(x, mask, kmeans(outliers, mask, 8)):
        alone = row[shown].unsqueeze(0)
        torch.testing.assert_close(centres, kmeans(alone, everything(alone), 8)[0], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("values", [[0.25], [-1.0, 3.0], [-2.0, -1.0, 0.5, 7.0]])
@pytest.mark.parametrize("per_row", [False, True])
def test_few_distinct_values_are_kept(values, per_row):
    x = torch.tensor(values)[torch.randint(len(values), (4, 50))]
    codebook = Codebook.fit(x, everything(x), 2, per_row)
    torch.testing.assert_close(codebook.decode(codebook.encode(x)), x, rtol=0, atol=1e-3)


@pytest.mark.parametrize("bits", BITS)
def test_a_grid_is_off_by_at_most_half_a_step(bits):
    x = weights()
    grid = Grid.fit(x, everything(x), bits)
    indices = grid.encode(x)
    step = (x.amax(1, keepdim=True) - x.amin(1, keepdim=True)) / (2**bits - 1)
    assert indices.max() == 2**bits - 1
    assert ((grid.decode(indices) - x).abs() <= step / 2 * 1.0001 + x.abs() * 1e-6).all()


def error(quantiser, x):
    return (quantiser.decode(quantiser.encode(x)) - x).square().sum(1)


@pytest.mark.parametrize("bits", BITS)
def test_kmeans_is_not_worse_than_a_grid(bits):
    x = weights(6, 2000)
    by_kmeans = error(Codebook.fit(x, everything(x), bits, per_row=True), x)
    by_grid = error(Grid.fit(x, everything(x), bits), x)
    # its levels are in half precision
    assert (by_kmeans <= by_grid * 1.01).all()
    flat = x.reshape(1, -1)
    grid = Grid.fit(flat, everything(flat), bits)
    assert error(Codebook.fit(x, everything(x), bits), x).sum() <= 1.01 * error(grid, flat)


def test_nearest_levels_are_chosen():
    x = torch.randn(4, 100)
    codebook = Codebook.fit(x, everything(x), 3)
    nearest = (x.unsqueeze(-1) - codebook.levels.view(-1)).abs().argmin(-1)
    assert torch.equal(codebook.encode(x).long(), nearest)


@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (700, 900)])
@pytest.mark.parametrize("per_row", [False, True])
def test_blocks_decode_to_the_same(shape, per_row):
    x = torch.randn(shape)
    for quantiser in (Codebook.fit(x, everything(x), 4, per_row), Grid.fit(x, everything(x), 4)):
        indices = quantiser.encode(x)
        assert torch.equal(decode_in_blocks(quantiser, indices), quantiser.decode(indices))


def test_nothing_is_random():
    x = torch.randn(50, 60)
    ends = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        ends.append(kmeans(x, everything(x), 32))
    assert torch.equal(*ends)
