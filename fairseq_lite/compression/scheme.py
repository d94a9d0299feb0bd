"""How the tensors of a model are compressed."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Iterable, Tuple

from torch import Tensor

from fairseq_lite.compression.quantisers import QUANTISERS
from fairseq_lite.errors import ArgumentError

FEWEST_BITS, MOST_BITS = 2, 8
# Below this many entries half precision costs next to nothing: kernels of lightweight convolutions, for one.
SMALLEST = 1024


@dataclass(frozen=True)
class Scheme:
    """How the tensors of a model are coded, matrices of 1024 entries and more in few bits and others in half precision.

    Levels of k-means are those of Deep Compression (Han et al., ICLR 2016, arXiv 1510.00149).

    Args:
        bits: bits a weight, 2 to 8
        method: "kmeans" for levels where the weights lie, "linear" for evenly spaced ones in each row
        per_row: whether each row has levels of its own by k-means
        entropy_code: whether frequent values take fewer bits, lossless
        keep: regular expressions; a tensor in whose name one is found is stored unchanged

    Raises ArgumentError for values that make no scheme.

    Examples:
        >>> from fairseq_lite import Scheme
        >>> Scheme(bits=4, keep=("embed",)).keeps("encoder.embed_tokens.weight")
        True
    """

    bits: int = 8
    method: str = "kmeans"
    per_row: bool = False
    entropy_code: bool = False
    keep: Tuple[str, ...] = ()

    def __post_init__(self):
        if not FEWEST_BITS <= self.bits <= MOST_BITS:
            raise ArgumentError("bits", self.bits, f"must be {FEWEST_BITS} to {MOST_BITS}")
        if self.method not in QUANTISERS:
            raise ArgumentError("method", self.method, f"must be one of {', '.join(QUANTISERS)}")
        if self.per_row and self.method == "linear":
            raise ArgumentError("per_row", "", "is for kmeans; the levels of linear are of each row anyway")
        if isinstance(self.keep, str):
            raise ArgumentError("keep", self.keep, f"must be a tuple of patterns, as ({self.keep!r},)")
        for pattern in self.keep:
            try:
                re.compile(pattern)
            except re.error as error:
                raise ArgumentError("keep", pattern, f"not a regular expression ({error})") from None

    def check_keep(self, names: Iterable[str]) -> None:
        """Raise ArgumentError for a pattern of `keep` that is found in no name."""
        names = list(names)
        for pattern in self.keep:
            if not any(re.search(pattern, name) for name in names):
                example = names[0] if names else "none"
                raise ArgumentError("keep", pattern, f"is found in the name of no tensor; the first is {example}")

    def keeps(self, name: str) -> bool:
        """Whether the tensor of this name is stored unchanged."""
        return any(re.search(pattern, name) for pattern in self.keep)

    def quantises(self, name: str, tensor: Tensor) -> bool:
        """Whether these are weights to quantise: of two dimensions or more, large enough, and not to be kept."""
        return tensor.is_floating_point() and tensor.dim() > 1 and tensor.numel() >= SMALLEST and not self.keeps(name)
