"""A state dict sealed in one tensor of bytes, and back."""

from __future__ import annotations

import math
from collections import OrderedDict
from typing import Any, Callable, Dict, Iterable, Iterator, List, Tuple

import torch
from torch import Tensor

from fairseq_lite.checkpoints import SEALED, StateDict, is_placeholder
from fairseq_lite.compression.packing import Bytes, Damaged, Stream, seal, unseal
from fairseq_lite.compression.scheme import Scheme
from fairseq_lite.compression.tensors import Description, Streams, decode_weights, encode_weights

# Entries that a file may describe: half a byte of a stream deflates to no less than a thousandth, zeros to nothing.
_ENTRIES_AT_LEAST = 1 << 26
_ENTRIES_TIMES = 8 * 1032


class Unsealed(OrderedDict):
    """A state dict that was sealed, so that its weights are a quantiser's levels."""

    def __reduce__(self):
        # Weights-only loading would refuse a file with this class in it.
        return OrderedDict, (), None, None, iter(self.items())


def is_sealed(state: Any) -> bool:
    return isinstance(state, dict) and SEALED in state


def first_of_equals(state: StateDict) -> Dict[str, str]:
    """For each name the first name of the same tensor: of tied weights, also where a checkpoint stored them twice."""
    first: Dict[Tuple, List[str]] = {}
    equals = {}
    for name, tensor in state.items():
        beginning = tuple(tensor.flatten()[:16].tolist())
        alike = first.setdefault((tensor.dtype, tensor.shape, beginning), [])
        equals[name] = next((other for other in alike if _same(tensor, state[other])), name)
        if equals[name] == name:
            alike.append(name)
    return equals


def _same(one: Tensor, other: Tensor) -> bool:
    # Small tensors may be equal by chance, as biases of zeros are, and cost nothing.
    return one.data_ptr() == other.data_ptr() or one.dim() > 1 and torch.equal(one, other)


def seal_state(
    state: StateDict, scheme: Scheme, equals: Dict[str, str], progress: Callable[[Iterable], Iterable] = iter
) -> StateDict:
    """A state dict with one tensor of uint8, which holds all others; `progress` wraps the iteration over names.

    equals: first_of_equals(state). Raises UserError for weights that are not finite.
    """
    descriptions: List[Description] = []
    payload: List[Bytes] = []
    for name in progress(list(state)):
        if equals[name] != name:
            descriptions.append({"name": name, "same": equals[name]})
            continue
        description, streams = encode_weights(name, _without_garbage(name, state[name]), scheme)
        description["streams"] = {key: [s.bits, int(s.deflated), len(s.data)] for key, s in streams.items()}
        descriptions.append(description)
        payload += [stream.data for stream in streams.values()]
    return {SEALED: seal({"tensors": descriptions}, payload)}


def _without_garbage(name: str, tensor: Tensor) -> Tensor:
    """Zeros in the place of a placeholder that memory happened to hold no number for."""
    garbage = is_placeholder(name, tensor) and not tensor.isfinite().all()
    return torch.zeros_like(tensor) if garbage else tensor


def unseal_state(sealed: StateDict) -> Unsealed:
    """The state dict that was sealed, in float32 where it is floating point; raises Damaged."""
    state = Unsealed()
    for description, streams in _entries(sealed):
        try:
            same = description.get("same")
            state[description["name"]] = decode_weights(description, streams) if same is None else state[same]
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            # Its checksum is right, so another program wrote it.
            raise Damaged(f"tensor {len(state) + 1}: {_reason(error)}") from error
    return state


def _reason(error: Exception) -> str:
    lines = str(error).splitlines()
    return f"{lines[0] if lines else ''} ({type(error).__name__})" if not isinstance(error, Damaged) else str(error)


def sealed_sizes(sealed: StateDict) -> Dict[str, int]:
    """Bytes of each tensor in a sealed state dict; 0 for one that is the same as another. Raises Damaged."""
    return {
        description["name"]: sum(len(stream.data) for stream in streams.values())
        for description, streams in _entries(sealed)
    }


def count_weights(sealed: StateDict) -> int:
    """Entries of all tensors of a sealed state dict, tied ones once; raises Damaged."""
    return sum(math.prod(description.get("shape", [0])) for description, _ in _entries(sealed))


def _entries(sealed: StateDict) -> Iterator[Tuple[Description, Streams]]:
    """The descriptions of a sealed state dict's tensors, checked, each with its streams; raises Damaged."""
    header, payload = unseal(sealed[SEALED])
    descriptions = header.get("tensors") if isinstance(header, dict) else None
    if not isinstance(descriptions, list) or not all(map(_is_description, descriptions)):
        raise Damaged("its description is not one that this version of fairseq_lite writes")
    entries = sum(math.prod(description.get("shape", [0])) for description in descriptions)
    if entries > _ENTRIES_AT_LEAST + _ENTRIES_TIMES * len(payload):
        raise Damaged(f"{entries} weights in {len(payload)} bytes")
    position = 0
    for description in descriptions:
        streams = {}
        for key, (bits, deflated, size) in description.get("streams", {}).items():
            streams[key] = Stream(bits, bool(deflated), payload[position : position + size])
            position += size
        yield description, streams
    if position != len(payload):
        raise Damaged(f"{len(payload)} bytes where {position} are described")


def _is_description(description: Any) -> bool:
    if not isinstance(description, dict) or not isinstance(description.get("name"), str):
        return False
    if "same" in description:
        return isinstance(description["same"], str) and not description.keys() & {"shape", "streams"}
    streams = description.get("streams")
    return (
        _is_list_of_sizes(description.get("shape"))
        and isinstance(description.get("coding"), str)
        and isinstance(streams, dict)
        and all(_is_list_of_sizes(stream) and len(stream) == 3 for stream in streams.values())
    )


def _is_list_of_sizes(value: Any) -> bool:
    return isinstance(value, list) and all(type(size) is int and 0 <= size < 1 << 62 for size in value)
