"""One tensor of a checkpoint as streams of bytes, and back."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Dict, Optional, Tuple

import torch
from torch import Tensor

from fairseq_lite.compression.packing import Damaged, Stream, decode_tensor, encode_tensor
from fairseq_lite.compression.quantisers import QUANTISERS, Quantiser, decode_in_blocks
from fairseq_lite.compression.scheme import FEWEST_BITS, MOST_BITS, Scheme
from fairseq_lite.errors import UserError

Description = Dict[str, Any]
Streams = Dict[str, Stream]
_DTYPES = {
    str(dtype).replace("torch.", ""): dtype
    for dtype in (
        torch.half, torch.float, torch.double, torch.uint8, torch.int8, torch.short, torch.int, torch.long, torch.bool,
    )
}  # fmt: skip


def as_rows(tensor: Tensor) -> Tensor:
    """[R, ...] as [R, N] in float32; a row makes one output, or is one word's embedding."""
    return tensor.detach().float().flatten(1)


@dataclass
class Quantised:
    """Rows of weights as indices: [F, N] of the F rows that are not all zeros, which `filled`: [R] marks.

    `nonzero`: [F, N] is false where an exact zero is left out, and None where none is.
    """

    quantiser: Quantiser
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

    def streams(self, scheme: Scheme) -> Streams:
        """All that `_read_quantised` needs, as bytes."""
        streams = {}
        symbols = self.indices
        if not self.filled.all():
            streams["filled"] = encode_tensor(self.filled, 1, scheme.entropy_code)
        if self.nonzero is not None:
            streams["nonzero"] = encode_tensor(self.nonzero, 1, scheme.entropy_code)
            symbols = symbols[self.nonzero]
        streams.update(self.quantiser.streams(scheme.entropy_code))
        streams["symbols"] = encode_tensor(symbols, scheme.bits, scheme.entropy_code)
        return streams


def quantise(x: Tensor, scheme: Scheme) -> Quantised:
    """Quantise x: [R, N], of which some row is not all zeros.

    Rows of zeros stay zeros; so do single zeros where they are so many that a bit for each weight pays.
    """
    filled = x.ne(0).any(1)
    x = x if filled.all() else x[filled]
    nonzero = x.ne(0)
    sparse = int((~nonzero).sum()) * scheme.bits > x.numel()
    mask = nonzero if sparse else torch.ones_like(nonzero)
    quantiser = QUANTISERS[scheme.method].fit(x, mask, scheme.bits, scheme.per_row)
    return Quantised(quantiser, quantiser.encode(x), filled, nonzero if sparse else None)


def encode_weights(name: str, tensor: Tensor, scheme: Scheme) -> Tuple[Description, Streams]:
    """A tensor's description and streams; raises UserError for weights that are not finite."""
    description = {"name": name, "shape": list(tensor.shape)}
    if scheme.quantises(name, tensor):
        if not tensor.isfinite().all():
            raise UserError(f"{name}: holds weights that are infinite or not a number; such a model is of no use")
        if not tensor.any():
            return {**description, "coding": "zeros"}, {}
        streams = quantise(as_rows(tensor), scheme).streams(scheme)
        if sum(len(stream.data) for stream in streams.values()) < 2 * tensor.numel():
            coding = {"coding": scheme.method, "bits": scheme.bits, "per_row": scheme.per_row}
            return {**description, **coding}, streams
    return _unquantised(description, tensor, scheme)


def _unquantised(description: Description, tensor: Tensor, scheme: Scheme) -> Tuple[Description, Streams]:
    if tensor.is_floating_point():
        half = not scheme.keeps(description["name"]) and _fits_half(tensor)
        tensor = tensor.half() if half else tensor.float() if tensor.dtype == torch.bfloat16 else tensor
    description = {**description, "coding": "plain", "dtype": str(tensor.dtype).replace("torch.", "")}
    return description, {"values": encode_tensor(tensor, 8, scheme.entropy_code)}


def _fits_half(tensor: Tensor) -> bool:
    """Whether half precision overflows nowhere and leaves whole numbers, as counters are, what they are."""
    half, exact = tensor.half().double(), tensor.double()
    whole = exact.eq(exact.round()).all()
    return bool(torch.equal(half, exact) if whole else half.isfinite().all())


def decode_weights(description: Description, streams: Streams) -> Tensor:
    """The tensor of a description and its streams, in float32 where it is floating point; raises Damaged."""
    shape, coding = description["shape"], description["coding"]
    if coding == "zeros":
        return torch.zeros(shape)
    if coding == "plain":
        values = decode_tensor(streams["values"], _DTYPES[description["dtype"]], shape)
        return values.float() if values.dtype == torch.half else values
    if coding not in QUANTISERS or not FEWEST_BITS <= description["bits"] <= MOST_BITS or len(shape) < 2:
        raise Damaged(f"{description['name']}: {coding} of {description.get('bits')} bits in {len(shape)} dimensions")
    return _read_quantised(description, streams).decode().view(shape)


def _read_quantised(description: Description, streams: Streams) -> Quantised:
    bits = description["bits"]
    height, width = description["shape"][0], math.prod(description["shape"][1:])
    filled, nonzero = torch.ones(height, dtype=torch.bool), None
    if "filled" in streams:
        filled = decode_tensor(streams["filled"], torch.bool, (height,))
    size = (int(filled.sum()), width)
    if "nonzero" in streams:
        nonzero = decode_tensor(streams["nonzero"], torch.bool, size)
        indices = torch.zeros(size, dtype=torch.uint8)
        indices[nonzero] = decode_tensor(streams["symbols"], torch.uint8, (int(nonzero.sum()),))
    else:
        indices = decode_tensor(streams["symbols"], torch.uint8, size)
    if int(indices.max()) >= 2**bits:
        raise Damaged(f"{description['name']}: an index beyond its {2**bits} levels")
    quantiser = QUANTISERS[description["coding"]].from_streams(streams, size[0], bits, description["per_row"])
    return Quantised(quantiser, indices, filled, nonzero)
