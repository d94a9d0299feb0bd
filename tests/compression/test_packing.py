import numpy as np
import pytest
import torch

from fairseq_lite.compression import packing
from fairseq_lite.compression.packing import Damaged, decode, encode, pack_bits, seal, unpack_bits, unseal

COUNTS = [0, 1, 7, 8, 9, 1000]


def naive_pack(symbols, bits):
    """All symbols as one binary number, its highest bit first, filled up to whole bytes."""
    digits = "".join(f"{symbol:0{bits}b}" for symbol in symbols)
    digits += "0" * (-len(digits) % 8)
    return bytes(int(digits[i : i + 8], 2) for i in range(0, len(digits), 8))


@pytest.fixture
def small_blocks(monkeypatch):
    monkeypatch.setattr(packing, "_BLOCK", 64)


@pytest.mark.parametrize("bits", range(1, 9))
@pytest.mark.parametrize("count", COUNTS)
def test_packing_is_the_binary_number_and_back(small_blocks, bits, count):
    symbols = np.random.default_rng(1).integers(0, 2**bits, count).astype(np.uint8)
    packed = pack_bits(symbols, bits)
    assert packed == naive_pack(symbols, bits)
    assert np.array_equal(unpack_bits(packed, bits, count), symbols)


@pytest.mark.parametrize("entropy_code", [False, True])
@pytest.mark.parametrize("bits", range(1, 9))
@pytest.mark.parametrize("count", COUNTS)
def test_streams_come_back(bits, count, entropy_code):
    symbols = np.random.default_rng(1).integers(0, 2**bits, count).astype(np.uint8)
    assert np.array_equal(decode(encode(symbols, bits, entropy_code), count), symbols)


def entropy(symbols):
    shares = np.bincount(symbols) / len(symbols)
    return -sum(share * np.log2(share) for share in shares if share)


@pytest.mark.parametrize("bits", [1, 4, 8])
def test_entropy_coding_comes_close_to_the_entropy(bits):
    normal = np.random.default_rng(1).normal(2 ** (bits - 1), 2 ** (bits - 3), 100000)
    symbols = normal.clip(0, 2**bits - 1).astype(np.uint8)
    size = len(encode(symbols, bits, True).data)
    assert entropy(symbols) <= 8 * size / len(symbols) < 1.05 * entropy(symbols) + 0.05
    assert size <= len(encode(symbols, bits, False).data)


def test_wrong_lengths_are_damage():
    with pytest.raises(Damaged):
        unpack_bits(b"123", 4, 9)
    with pytest.raises(Damaged):
        decode(packing.Stream(8, True, b"no deflated bytes"), 3)


@pytest.fixture
def sealed():
    return seal({"names": ["a", "b"]}, [b"12", b"345"])


def test_what_was_sealed_comes_back(sealed):
    description, payload = unseal(sealed)
    assert description == {"names": ["a", "b"]}
    assert bytes(payload) == b"12345"


def test_every_flipped_bit_is_noticed(sealed):
    for position in range(len(sealed)):
        for bit in range(8):
            damaged = sealed.clone()
            damaged[position] ^= 1 << bit
            with pytest.raises(Damaged):
                unseal(damaged)


def test_every_truncation_is_noticed(sealed):
    for length in range(len(sealed)):
        with pytest.raises(Damaged):
            unseal(sealed[:length])
    with pytest.raises(Damaged):
        unseal(torch.cat([sealed, sealed[:1]]))
