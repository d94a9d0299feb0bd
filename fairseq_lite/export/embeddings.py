"""Embeddings of words and positions."""

from __future__ import annotations

import math
from typing import Optional

import numpy as np
import torch
import torch.nn as nn
from fairseq.modules import AdaptiveInput, LearnedPositionalEmbedding, SinusoidalPositionalEmbedding

from fairseq_lite.errors import UserError
from fairseq_lite.export.affines import array_of
from fairseq_lite.export.graph import Graph, Value
from fairseq_lite.export.matrices import scaled
from fairseq_lite.export.weights import Weights


def embedded(g: Graph, ids: Value, embedding: nn.Module, factor: float, weights: Weights) -> Value:
    """Embeddings of ids: [N], times a factor, as [N, C]; raises UserError for a table of another kind."""
    if type(embedding) is nn.Embedding:
        return weights.rows(g, ids, embedding.weight, factor)
    if type(embedding) is AdaptiveInput:
        return scaled(g, _adaptive(g, ids, embedding, weights), factor)
    raise UserError(f"{type(embedding).__name__}: embeddings of this kind cannot be exported")


def _adaptive(g: Graph, ids: Value, embedding: AdaptiveInput, weights: Weights) -> Value:
    """Rows of tables of several widths, each band of the vocabulary with its projection."""
    result = None
    first = 0
    for (table, projection), end in zip(embedding.embeddings, embedding.cutoff):
        places = g.op("Sub", ids, g.constant(first)) if first else ids
        inside = g.op("Clip", places, g.constant(0), g.constant(end - first - 1))
        rows = weights.linear(g, weights.rows(g, inside, table.weight), projection)
        if result is None:
            result = rows
        else:
            here = g.op("Unsqueeze", g.op("GreaterOrEqual", ids, g.constant(first)), g.constant([1]))
            result = g.op("Where", here, rows, result)
        first = end
    return result


class Positions:
    """The table of position embeddings, first position first."""

    def __init__(self, module: Optional[nn.Module], count: int, weights: Weights):
        if type(module) not in (type(None), LearnedPositionalEmbedding, SinusoidalPositionalEmbedding):
            raise UserError(f"{type(module).__name__}: positions of this kind cannot be exported")
        self.module = module
        self.count = count
        self.weights = weights

    def table(self, g: Graph) -> Value:
        """The table, [positions, C]."""
        if isinstance(self.module, LearnedPositionalEmbedding):
            first = self.module.padding_idx + 1
            name = f"{self.weights.names.of(self.module.weight)}.positions"
            return g.weight(name, array_of(self.module.weight)[first:])
        return g.derived(("sinusoidal", self.module.embedding_dim, self.count), self._sinusoidal)

    def _sinusoidal(self, home: Graph) -> Value:
        """sin and cos of positions times frequencies; the frequencies alone are stored."""
        half = self.module.embedding_dim // 2
        exponents = torch.arange(half, dtype=torch.float) * -(math.log(10000) / (half - 1))
        frequencies = home.constant(exponents.exp().numpy())
        first = self.module.padding_idx + 1
        places = home.op("Range", *(home.constant(np.float32(n)) for n in (first, first + self.count, 1)))
        angles = home.op("Mul", home.reshape(places, -1, 1), frequencies)
        table = home.op("Concat", home.op("Sin", angles), home.op("Cos", angles), axis=1)
        if self.module.embedding_dim % 2:
            table = home.op("Pad", table, home.constant([0, 0, 0, 1]))
        return table

    def add_first(self, g: Graph, x: Value, length: Value) -> Value:
        """x: [length, B, C] with the first positions added, length: [1]."""
        if self.module is None:
            return x
        first = g.op("Slice", self.table(g), g.constant([0]), length, g.constant([0]))
        return g.op("Add", x, g.op("Unsqueeze", first, g.constant([1])))

    def add_one(self, g: Graph, x: Value, step: Value) -> Value:
        """x: [N, C], all at the position `step`, counted from 0."""
        return x if self.module is None else g.op("Add", x, g.op("Gather", self.table(g), step))
