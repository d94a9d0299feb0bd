"""Symbols of a few bits in bytes, and a description with its bytes in one sealed tensor of uint8."""

from __future__ import annotations

import hashlib
import json
import math
import struct
import zlib
from dataclasses import dataclass
from typing import Any, Dict, Sequence, Tuple, Union

import numpy as np
import torch

from fairseq_lite.archives import largest_inflated

MAGIC = b"fairseq_lite packed 1\n"
_DIGEST = hashlib.sha256().digest_size
_LENGTH = struct.Struct("<I")
# A multiple of 8 symbols ends on a whole byte.
_BLOCK = 1 << 20
Bytes = Union[bytes, memoryview]
MEMORY_LEVEL = 9


class Damaged(ValueError):
    """Packed bytes that are not what was written."""


def pack_bits(symbols: np.ndarray, bits: int) -> bytes:
    """Symbols below 2 ** bits, uint8: [N], without the bits that they do not use, the highest bit first."""
    blocks = np.split(symbols, range(_BLOCK, len(symbols), _BLOCK))
    return b"".join(np.packbits(np.unpackbits(block[:, None], axis=1)[:, 8 - bits :]).tobytes() for block in blocks)


def unpack_bits(data: Bytes, bits: int, count: int) -> np.ndarray:
    """The first `count` symbols that pack_bits wrote, uint8: [count]; raises Damaged if there are fewer."""
    packed = np.frombuffer(data, np.uint8)
    if len(packed) != packed_size(bits, count):
        raise Damaged(f"{len(packed)} bytes for {count} symbols of {bits} bits")
    if bits == 8:
        return packed
    symbols: np.ndarray = np.empty(count, np.uint8)
    for start in range(0, count, _BLOCK):
        block = symbols[start : start + _BLOCK]
        first = start // 8 * bits
        flat = np.unpackbits(packed[first : first + packed_size(bits, len(block))], count=len(block) * bits)
        padded = np.pad(flat.reshape(-1, bits), ((0, 0), (8 - bits, 0)))
        block[:] = np.packbits(padded, axis=1)[:, 0]
    return symbols


def packed_size(bits: int, count: int) -> int:
    """Bytes of `count` symbols."""
    return (count * bits + 7) // 8


@dataclass
class Stream:
    """Symbols as bytes: `bits` each, and deflated or not."""

    bits: int
    deflated: bool
    data: Bytes


def encode(symbols: np.ndarray, bits: int, entropy_code: bool) -> Stream:
    """Symbols below 2 ** bits, uint8: [N], in the fewest bytes: packed, or by Huffman's code where that is shorter.

    Huffman's code is zlib's, which adapts it every few ten thousand symbols.
    """
    packed = Stream(bits, False, pack_bits(symbols, bits))
    if not entropy_code:
        return packed
    candidates = [packed, Stream(bits, True, deflate(packed.data)), Stream(8, True, deflate(symbols.tobytes()))]
    return min(candidates, key=lambda stream: len(stream.data))


def decode(stream: Stream, count: int) -> np.ndarray:
    """The symbols of a stream, uint8: [count]; raises Damaged."""
    if not 1 <= stream.bits <= 8:
        raise Damaged(f"symbols of {stream.bits} bits")
    data = inflate(stream.data, packed_size(stream.bits, count)) if stream.deflated else stream.data
    return unpack_bits(data, stream.bits, count)


def encode_tensor(tensor: torch.Tensor, bits: int, entropy_code: bool) -> Stream:
    """The bytes of a tensor's entries as symbols."""
    return encode(tensor.detach().contiguous().view(-1).numpy().view(np.uint8), bits, entropy_code)


def decode_tensor(stream: Stream, dtype: torch.dtype, shape: Sequence[int]) -> torch.Tensor:
    """A tensor of the shape whose bytes a stream holds; raises Damaged."""
    count = math.prod(shape)
    if not count:
        return torch.empty(shape, dtype=dtype)
    size = torch.empty(0, dtype=dtype).element_size()
    data = torch.from_numpy(decode(stream, count * size).copy())
    # A byte that is neither 0 nor 1 makes no entry of a bool tensor.
    return (data.ne(0) if dtype == torch.bool else data.view(dtype)).view(shape)


def deflate(data: Bytes) -> bytes:
    """Without zlib's header, and with or without a search for repetitions, whichever is shorter."""
    strategies = (zlib.Z_DEFAULT_STRATEGY, zlib.Z_HUFFMAN_ONLY)
    return min((_deflate(data, strategy) for strategy in strategies), key=len)


def _deflate(data: Bytes, strategy: int) -> bytes:
    compressor = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS, MEMORY_LEVEL, strategy)
    return compressor.compress(data) + compressor.flush()


def inflate(data: Bytes, limit: int) -> bytes:
    """What was deflated, of at most `limit` bytes; raises Damaged for more, or for other bytes."""
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        # One byte beyond the limit, so that the end of the stream is read, too.
        inflated = inflater.decompress(data, limit + 1)
    except zlib.error as error:
        raise Damaged(str(error)) from error
    if len(inflated) > limit or not inflater.eof or inflater.unused_data:
        raise Damaged(f"{len(data)} deflated bytes do not end within {limit} inflated ones")
    return inflated


def seal(description: Dict[str, Any], streams: Sequence[Bytes]) -> torch.Tensor:
    """One tensor of uint8: the magic line, SHA-256 of what follows, the description as deflated JSON, the streams."""
    text = deflate(json.dumps(description, separators=(",", ":")).encode())
    content = b"".join([_LENGTH.pack(len(text)), text, *streams])
    sealed = MAGIC + hashlib.sha256(content).digest() + content
    return torch.from_numpy(np.frombuffer(sealed, np.uint8).copy())


def unseal(sealed: torch.Tensor) -> Tuple[Dict[str, Any], memoryview]:
    """The description and the streams that seal was given; raises Damaged where a bit is not as it was written."""
    if not (torch.is_tensor(sealed) and sealed.dtype == torch.uint8 and sealed.dim() == 1 and sealed.is_contiguous()):
        raise Damaged("its model is no row of bytes")
    data = memoryview(sealed.numpy())  # type: ignore[arg-type]
    start = len(MAGIC) + _DIGEST
    if len(data) < start + _LENGTH.size or data[: len(MAGIC)] != MAGIC:
        raise Damaged("it does not begin as this version of fairseq_lite writes it")
    if hashlib.sha256(data[start:]).digest() != data[len(MAGIC) : start]:
        raise Damaged("its checksum is wrong")
    (length,) = _LENGTH.unpack_from(data, start)
    text = start + _LENGTH.size
    try:
        description = json.loads(inflate(data[text : text + length], largest_inflated(length)))
    except (ValueError, RecursionError) as error:
        raise Damaged(f"its description cannot be read: {error}") from error
    return description, data[text + length :]
