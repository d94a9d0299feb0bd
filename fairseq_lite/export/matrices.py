"""How a matrix is stored in a graph and multiplied."""

from __future__ import annotations

from typing import Optional

import numpy as np

from fairseq_lite.export.graph import Graph, Value


class Float32:
    """Matrices in float32, stored as they are."""

    bits = 32

    def product(self, g: Graph, x: Value, name: str, weight: np.ndarray, bias: Optional[Value]) -> Value:
        """x: [N, in] times weight: [out, in], plus bias: [out]; returns [N, out]."""
        stored = g.weight(name, weight)
        if stored in g.home.initializers:
            return g.op("Gemm", x, stored, bias, transB=1)
        # a graph further out keeps it, as of tied embeddings; what is derived here is packed for the product here
        transposed = g.derived(("transposed", name), lambda home: home.op("Transpose", stored, perm=[1, 0]))
        return g.op("Gemm", x, transposed, bias)

    def rows(self, g: Graph, ids: Value, name: str, table: np.ndarray) -> Value:
        """The rows ids: [...] of table: [V, C], [..., C]."""
        return g.op("Gather", g.weight(name, table), ids)
