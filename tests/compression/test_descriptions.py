"""Sealed bytes with a right checksum and a description that no version wrote: one Damaged, and no memory taken."""

import copy
import json

import pytest
import torch

from fairseq_lite.compression.packing import Damaged, deflate, inflate, seal, unseal
from fairseq_lite.compression.scheme import Scheme
from fairseq_lite.compression.states import SEALED, first_of_equals, seal_state, sealed_sizes, unseal_state


@pytest.fixture(scope="module")
def sealed():
    """A header with a tensor of each coding, and the bytes after it."""
    torch.manual_seed(1)
    weight = torch.randn(40, 32)
    sparse = weight.masked_fill(torch.rand(40, 32) < 0.8, 0.0)
    state = {"a": weight, "tied": weight, "b": sparse, "c": torch.zeros(40, 40), "d": torch.ones(3)}
    header, payload = unseal(seal_state(state, Scheme(4, entropy_code=True), first_of_equals(state))[SEALED])
    return header, bytes(payload)


ODD = [None, True, -1, 0, 3, 99, 10**30, 2.5, "odd", [], {}, [1, 2], [-1, 8], [10**9, 10**9], {"levels": [4, 0, 1]}]
KEYS = ["name", "shape", "coding", "bits", "per_row", "dtype", "streams", "same"]


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("value", ODD, ids=str)
def test_odd_values_are_damage_or_read(sealed, key, value):
    header, payload = sealed
    for place in range(len(header["tensors"])):
        odd = copy.deepcopy(header)
        odd["tensors"][place][key] = value
        try:
            state = unseal_state({SEALED: seal(odd, [payload])})
        except Damaged as error:
            assert "\n" not in str(error)
        else:
            assert all(torch.is_tensor(tensor) for tensor in state.values())


@pytest.mark.parametrize("key", KEYS)
def test_missing_entries_are_damage(sealed, key):
    header, payload = sealed
    for place, description in enumerate(header["tensors"]):
        if key in description:
            odd = copy.deepcopy(header)
            del odd["tensors"][place][key]
            with pytest.raises(Damaged):
                unseal_state({SEALED: seal(odd, [payload])})


@pytest.mark.parametrize("place", range(5))
@pytest.mark.parametrize("stream", [[0, 0, 1], [9, 0, 1], [8, 1, 10**15], ["4", 0, 1], [4, 0], None])
def test_odd_streams_are_damage(sealed, place, stream):
    header, payload = sealed
    for key in header["tensors"][place].get("streams", {}):
        odd = copy.deepcopy(header)
        odd["tensors"][place]["streams"][key] = stream
        with pytest.raises(Damaged):
            unseal_state({SEALED: seal(odd, [payload])})


@pytest.mark.parametrize("header", [None, [], {}, {"tensors": 3}, {"tensors": [3]}, {"tensors": {"a": 1}}], ids=str)
def test_odd_headers_are_damage(header):
    for read in (unseal_state, sealed_sizes):
        with pytest.raises(Damaged):
            read({SEALED: seal(header, [])})


@pytest.mark.parametrize("value", [None, [1], torch.zeros(90), torch.zeros(9, 9, dtype=torch.uint8), "bytes"], ids=str)
def test_a_model_that_is_no_row_of_bytes_is_damage(value):
    with pytest.raises(Damaged):
        unseal_state({SEALED: value})


def test_bombs_are_refused_without_inflating_them():
    zeros = {"name": "w", "shape": [1 << 20, 1 << 14], "coding": "zeros", "streams": {}}
    with pytest.raises(Damaged, match="weights in 0 bytes"):
        unseal_state({SEALED: seal({"tensors": [zeros]}, [])})
    bomb = deflate(bytes(1 << 24))
    plain = {"name": "w", "shape": [4], "coding": "plain", "dtype": "float32", "streams": {"values": [8, 1, len(bomb)]}}
    with pytest.raises(Damaged, match="do not end within 16"):
        unseal_state({SEALED: seal({"tensors": [plain]}, [bomb])})
    padded = json.dumps({"tensors": [], "padding": "0" * (1 << 25)})
    with pytest.raises(Damaged, match="description cannot be read"):
        unseal(seal(json.loads(padded), []))


@pytest.mark.parametrize("length", [0, 1, 1000])
def test_inflate_takes_what_fits_and_no_more(length):
    data = bytes(range(256)) * 4
    deflated = deflate(data[:length])
    assert inflate(deflated, length) == data[:length]
    for wrong, limit in ((deflated, length - 1), (deflated[:-1], length), (deflated + b"0", length)):
        with pytest.raises(Damaged):
            inflate(wrong, limit)
