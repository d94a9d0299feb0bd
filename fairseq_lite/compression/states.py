"""A state dict packed into one tensor, and back."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any, Callable, Dict, Iterable, Iterator, List, Tuple

import torch
from torch import Tensor

from fairseq_lite.compression.packing import Damaged, Stream, seal, unseal
from fairseq_lite.compression.tensors import Description, Scheme, Streams, pack, unpack

State = Dict[str, Tensor]
# The one key of a packed state dict.
PACKED = "fairseq_lite.packed"


def is_packed(state: Any) -> bool:
    return isinstance(state, dict) and PACKED in state


def first_of_equals(state: State) -> Dict[str, str]:
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


def count_weights(state: State) -> int:
    """Entries of all tensors, tied ones once."""
    equals = first_of_equals(state)
    return sum(tensor.numel() for name, tensor in state.items() if equals[name] == name)


def pack_state(state: State, scheme: Scheme, progress: Callable[[Iterable], Iterable] = iter) -> State:
    """A state dict with one tensor of uint8, which holds all others; `progress` wraps the iteration over names.

    Raises UserError for weights that are not finite.
    """
    descriptions: List[Description] = []
    payload: List[bytes] = []
    equals = first_of_equals(state)
    for name in progress(list(state)):
        if equals[name] != name:
            descriptions.append({"name": name, "same": equals[name]})
            continue
        description, streams = pack(name, state[name], scheme)
        description["streams"] = {key: [s.bits, int(s.deflated), len(s.data)] for key, s in streams.items()}
        descriptions.append(description)
        payload += [stream.data for stream in streams.values()]
    return {PACKED: seal({"tensors": descriptions}, payload)}


def unpack_state(packed: State) -> State:
    """The state dict that was packed, in float32 where it is floating point; raises Damaged."""
    header, payload = unseal(packed[PACKED])
    state: State = OrderedDict()
    for description, streams in _entries(header, payload):
        name = description["name"]
        state[name] = state[description["same"]] if "same" in description else unpack(description, streams)
    return state


def packed_sizes(packed: State) -> Dict[str, int]:
    """Bytes of each tensor in a packed state dict; 0 for one that is the same as another. Raises Damaged."""
    return {
        description["name"]: sum(len(stream.data) for stream in streams.values())
        for description, streams in _entries(*unseal(packed[PACKED]))
    }


def _entries(header: Dict[str, Any], payload: memoryview) -> Iterator[Tuple[Description, Streams]]:
    position = 0
    for description in header["tensors"]:
        streams = {}
        for key, (bits, deflated, size) in description.get("streams", {}).items():
            streams[key] = Stream(bits, bool(deflated), payload[position : position + size])
            position += size
        yield description, streams
    if position != len(payload):
        raise Damaged(f"{len(payload)} bytes where {position} are described")
