"""One tensor of a checkpoint as streams of bytes, and back."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any, Dict, Optional, Tuple, Union

import numpy as np
import torch
from torch import Tensor

from fairseq_lite.compression.codebooks import Codebook, Grid, decode_in_blocks, fit_codebook, fit_grid
from fairseq_lite.compression.packing import Damaged, Stream, decode, encode
from fairseq_lite.errors import UserError

METHODS = ("kmeans", "linear")
# Below this many entries half precision costs next to nothing: kernels of lightweight convolutions, for one.
SMALLEST = 1024

Description = Dict[str, Any]
Streams = Dict[str, Stream]


@dataclass(frozen=True)
class Scheme:
    """How tensors are coded; `keep` holds regular expressions of names whose tensors are stored unchanged."""

    bits: int = 8
    method: str = "kmeans"
    per_row: bool = False
    entropy_code: bool = False
    keep: Tuple[str, ...] = ()

    def __post_init__(self):
        if not 2 <= self.bits <= 8:
            raise UserError(f"--bits {self.bits}: must be 2 to 8")
        if self.method not in METHODS:
            raise UserError(f"--method {self.method}: must be one of {', '.join(METHODS)}")
        for pattern in self.keep:
            try:
                re.compile(pattern)
            except re.error as error:
                raise UserError(f"--keep {pattern}: not a regular expression ({error})") from None

    def keeps(self, name: str) -> bool:
        return any(re.search(pattern, name) for pattern in self.keep)

    def quantises(self, name: str, tensor: Tensor) -> bool:
        """Whether these are weights to quantise: of two dimensions or more, large enough, and not to be kept."""
        return tensor.is_floating_point() and tensor.dim() > 1 and tensor.numel() >= SMALLEST and not self.keeps(name)


def as_rows(tensor: Tensor) -> Tensor:
    """[R, ...] as [R, N] in float32; a row makes one output, or is one word's embedding."""
    return tensor.detach().float().flatten(1)


@dataclass
class Quantised:
    """Rows of weights as indices: [F, N] of the F rows that are not all zeros, which `filled`: [R] marks.

    `nonzero`: [F, N] is false where an exact zero is left out, and None where none is.
    """

    quantiser: Union[Codebook, Grid]
    indices: Tensor
    filled: Tensor
    nonzero: Optional[Tensor]

    def decode(self) -> Tensor:
        """The rows with quantised weights: [R, N], in float32."""
        values = decode_in_blocks(self.quantiser, self.indices)
        if self.nonzero is not None:
            values.masked_fill_(~self.nonzero, 0.0)
        if self.filled.all():
            return values
        rows = torch.zeros(len(self.filled), values.size(1))
        rows[self.filled] = values
        return rows


def quantise(x: Tensor, scheme: Scheme) -> Quantised:
    """Quantise x: [R, N], of which some row is not all zeros.

    Rows of zeros stay zeros; so do single zeros where they are so many that a bit for each weight pays.
    """
    filled = x.ne(0).any(1)
    x = x if filled.all() else x[filled]
    nonzero = x.ne(0)
    sparse = int((~nonzero).sum()) * scheme.bits > x.numel()
    mask = nonzero if sparse else torch.ones_like(nonzero)
    if scheme.method == "linear":
        quantiser = fit_grid(x, mask, scheme.bits)
    else:
        quantiser = fit_codebook(x, mask, scheme.bits, scheme.per_row)
    return Quantised(quantiser, quantiser.encode(x), filled, nonzero if sparse else None)


def pack(name: str, tensor: Tensor, scheme: Scheme) -> Tuple[Description, Streams]:
    """A tensor's description and streams; raises UserError for weights that are not finite."""
    description = {"name": name, "shape": list(tensor.shape)}
    if scheme.quantises(name, tensor):
        if not tensor.isfinite().all():
            raise UserError(f"{name}: holds weights that are infinite or not a number; such a model is of no use")
        if not tensor.any():
            return {**description, "coding": "zeros"}, {}
        streams = _quantised_streams(quantise(as_rows(tensor), scheme), scheme)
        if sum(len(stream.data) for stream in streams.values()) < 2 * tensor.numel():
            coding = {"coding": scheme.method, "bits": scheme.bits, "per_row": scheme.per_row}
            return {**description, **coding}, streams
    return _unquantised(description, tensor, scheme)


def _unquantised(description: Description, tensor: Tensor, scheme: Scheme) -> Tuple[Description, Streams]:
    if tensor.is_floating_point():
        half = not scheme.keeps(description["name"]) and _fits_half(tensor)
        tensor = tensor.half() if half else tensor.float() if tensor.dtype == torch.bfloat16 else tensor
    description = {**description, "coding": "plain", "dtype": str(tensor.dtype).replace("torch.", "")}
    return description, {"values": encode(_bytes(tensor), 8, scheme.entropy_code)}


def _fits_half(tensor: Tensor) -> bool:
    """Whether half precision overflows nowhere and leaves whole numbers, as counters are, what they are."""
    half, exact = tensor.half().double(), tensor.double()
    whole = exact.eq(exact.round()).all()
    return bool(torch.equal(half, exact) if whole else half.isfinite().all())


def _quantised_streams(quantised: Quantised, scheme: Scheme) -> Streams:
    streams = {}
    symbols = quantised.indices
    if not quantised.filled.all():
        streams["filled"] = encode(_bytes(quantised.filled), 1, scheme.entropy_code)
    if quantised.nonzero is not None:
        streams["nonzero"] = encode(_bytes(quantised.nonzero), 1, scheme.entropy_code)
        symbols = symbols[quantised.nonzero]
    quantiser = quantised.quantiser
    if isinstance(quantiser, Grid):
        levels = torch.cat([quantiser.low, quantiser.step], dim=1)
    else:
        levels = quantiser.codes
        affine = torch.cat([quantiser.centre, quantiser.scale], dim=1)
        streams["affine"] = encode(_bytes(affine), 8, scheme.entropy_code)
    streams["levels"] = encode(_bytes(levels), 8, scheme.entropy_code)
    streams["symbols"] = encode(_bytes(symbols), scheme.bits, scheme.entropy_code)
    return streams


def unpack(description: Description, streams: Streams) -> Tensor:
    """The tensor of a description and its streams, in float32 where it is floating point; raises Damaged."""
    shape, coding = description["shape"], description["coding"]
    if coding == "zeros":
        return torch.zeros(shape)
    if coding == "plain":
        dtype = getattr(torch, description["dtype"])
        values = _values(streams["values"], dtype, math.prod(shape))
        return (values.float() if dtype == torch.half else values).view(shape)
    if coding not in METHODS:
        raise Damaged(f"{description['name']}: unknown coding {coding}")
    return _read_quantised(description, streams).decode().view(shape)


def _read_quantised(description: Description, streams: Streams) -> Quantised:
    height = description["shape"][0]
    width = math.prod(description["shape"][1:])
    filled, nonzero = torch.ones(height, dtype=torch.bool), None
    if "filled" in streams:
        filled = _values(streams["filled"], torch.bool, height)
    size = (int(filled.sum()), width)
    if "nonzero" in streams:
        nonzero = _values(streams["nonzero"], torch.bool, size[0] * width).view(size)
        indices = torch.zeros(size, dtype=torch.uint8)
        indices[nonzero] = _values(streams["symbols"], torch.uint8, int(nonzero.sum()))
    else:
        indices = _values(streams["symbols"], torch.uint8, size[0] * width).view(size)
    return Quantised(_read_levels(description, streams, size[0]), indices, filled, nonzero)


def _read_levels(description: Description, streams: Streams, rows: int) -> Union[Codebook, Grid]:
    if description["coding"] == "linear":
        low, step = _values(streams["levels"], torch.float, 2 * rows).view(rows, 2).split(1, dim=1)
        return Grid(low, step)
    count = rows if description["per_row"] else 1
    levels = 2 ** description["bits"]
    codes = _values(streams["levels"], torch.half, count * levels).view(count, levels)
    affine = _values(streams["affine"], torch.float, 2 * count).view(count, 2)
    return Codebook(codes, *affine.split(1, dim=1))


def _bytes(tensor: Tensor) -> np.ndarray:
    """The bytes of a tensor's entries, uint8: [N]."""
    return tensor.detach().contiguous().view(-1).numpy().view(np.uint8)


def _values(stream: Stream, dtype: torch.dtype, count: int) -> Tensor:
    """The entries, [count], whose bytes a stream holds."""
    if not count:
        return torch.empty(0, dtype=dtype)
    size = torch.empty(0, dtype=dtype).element_size()
    return torch.from_numpy(decode(stream, count * size).copy()).view(dtype)
