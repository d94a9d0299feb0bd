import argparse
import hashlib
import random
from pathlib import Path

import pytest
import torch
from fairseq import checkpoint_utils

from fairseq_lite.building import build_architecture
from fairseq_lite.checkpoints import load_model, read_checkpoint, write_checkpoint
from fairseq_lite.compression.files import compress, decompress, save_deflated
from fairseq_lite.compression.scheme import Scheme
from fairseq_lite.compression.states import SEALED
from fairseq_lite.converters.published import checkpoint_of
from fairseq_lite.errors import UserError
from fairseq_lite.hooks.checked_loading import check_and_decompress_checkpoints

FOUR_BITS = Scheme(4)
GOLDEN = Path(__file__).parents[1] / "golden"


@pytest.fixture(scope="module")
def checkpoint():
    """A stock Transformer's, with what training leaves beside the model."""
    options = argparse.Namespace(arch="transformer_tiny", task="translation", criterion="cross_entropy")
    model = build_architecture("transformer_tiny", ["--share-decoder-input-output-embed"], 100)
    options.share_decoder_input_output_embed = True
    checkpoint = checkpoint_of(options, model.state_dict(), "model")
    checkpoint["optimizer_history"] *= 3
    checkpoint["extra_state"].update(metrics={"train": []}, val_loss=2.5, ema=model.state_dict())
    return {**checkpoint, "last_optimizer_state": {"state": [torch.zeros(10)]}}


@pytest.fixture(scope="module")
def compressed(checkpoint, tmp_path_factory):
    path = tmp_path_factory.mktemp("compressed") / "small.pt"
    write_checkpoint(compress(checkpoint, FOUR_BITS), str(path), save_deflated)
    return path


def test_what_fairseq_needs_is_kept_and_nothing_else(compressed):
    content = torch.load(compressed, weights_only=True)
    assert content["cfg"]["model"]._name == "transformer_tiny"
    assert len(content["optimizer_history"]) == 1
    assert content["extra_state"] == {"train_iterator": {"epoch": 1, "iterations_in_epoch": 0}, "val_loss": 2.5}
    assert "last_optimizer_state" not in content
    assert list(content["model"]) == ["fairseq_lite.packed"]


def test_options_cost_a_few_kilobytes(compressed):
    sealed = torch.load(compressed)["model"]["fairseq_lite.packed"]
    assert len(sealed) < compressed.stat().st_size < len(sealed) + 8000


def test_fairseq_reads_the_unpacked_model(compressed, checkpoint):
    for read in (checkpoint_utils.load_checkpoint_to_cpu, read_checkpoint):
        state = read(str(compressed))["model"]
        assert list(state) == list(checkpoint["model"])
        assert all(tensor.dtype == torch.float for tensor in state.values())
    load_model(str(compressed))


def test_reading_is_installed_twice_without_harm(compressed, monkeypatch):
    monkeypatch.setattr(checkpoint_utils, "load_checkpoint_to_cpu", checkpoint_utils.load_checkpoint_to_cpu)
    check_and_decompress_checkpoints()
    load_model(str(compressed))


def test_saved_again_by_torch_it_is_read_as_well(compressed, tmp_path):
    content = torch.load(compressed)
    for zipped in (True, False):
        torch.save(content, tmp_path / "again.pt", _use_new_zipfile_serialization=zipped)
        load_model(str(tmp_path / "again.pt"))


@pytest.fixture
def same_model(compressed, tmp_path):
    """Whether damaged bytes are refused with the file's name; fails if they are read as another model."""
    whole = read_checkpoint(str(compressed))
    path = tmp_path / "damaged.pt"

    def refused(data):
        path.write_bytes(data)
        try:
            damaged = read_checkpoint(str(path))
            load_model(str(path))
        except UserError as error:
            assert str(path) in str(error)
            return True
        assert damaged["cfg"] == whole["cfg"]
        for name, tensor in whole["model"].items():
            assert torch.equal(damaged["model"][name], tensor)
        return False

    return refused


def test_flipped_bits_are_refused(compressed, same_model):
    data = compressed.read_bytes()
    packed = data.index(b"fairseq_lite packed")
    rng = random.Random(1)
    inside = [rng.randrange(packed, packed + 20000) for _ in range(10)]
    options = [rng.randrange(100, packed - 200) for _ in range(10)]
    for position in (*inside, *options):
        flipped = bytes([data[position] ^ 1 << rng.randrange(8)])
        assert same_model(data[:position] + flipped + data[position + 1 :])


def test_flipped_bits_of_the_archive_give_the_same_model_or_none(compressed, same_model):
    data = compressed.read_bytes()
    for position in range(len(data) - 600, len(data), 13):
        same_model(data[:position] + bytes([data[position] ^ 4]) + data[position + 1 :])


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.999])
def test_truncated_files_are_refused(compressed, same_model, share):
    data = compressed.read_bytes()
    assert same_model(data[: int(share * len(data))])


@pytest.mark.parametrize(
    "method, digest",
    [
        ("kmeans", "83835802f9a732cd68abef909fc28b5412ec0a0415490d272deb1d2038d154eb"),
        ("linear", "bf38e57fe7268ba1c1382b1d9b24abbda7da1ca07c1875756656810fb681bc47"),
    ],
)
def test_files_of_version_0_1_0_are_read(method, digest):
    """Names and weights as that version decompressed them."""
    found = hashlib.sha256()
    for name, tensor in read_checkpoint(str(GOLDEN / f"compressed_0.1.0_{method}.pt"))["model"].items():
        found.update(name.encode() + tensor.numpy().tobytes())
    assert found.hexdigest() == digest


def test_what_was_read_is_saved_as_a_plain_checkpoint(compressed, tmp_path):
    read = read_checkpoint(str(compressed))
    write_checkpoint(read, str(tmp_path / "plain.pt"))
    plain = torch.load(tmp_path / "plain.pt", weights_only=True)["model"]
    assert all(torch.equal(plain[name], tensor) for name, tensor in read["model"].items())


def test_without_the_plugin_the_one_key_of_the_model_names_it(compressed):
    assert all(key.startswith("fairseq_lite.") for key in torch.load(compressed)["model"])


def test_patterns_that_are_found_nowhere_are_refused(checkpoint):
    with pytest.raises(UserError, match=r"^keep embed_typo: is found in the name of no tensor; the first is "):
        compress(checkpoint, Scheme(4, keep=("embed", "embed_typo")))


def test_placeholders_without_a_number_become_zeros(checkpoint):
    state = {"head._float_tensor": torch.tensor([float("nan")]), "w": torch.randn(40, 40)}
    back = decompress(compress({**checkpoint, "model": state}, FOUR_BITS), "m.pt")["model"]
    assert back["head._float_tensor"] == 0


@pytest.mark.parametrize("damage", [torch.zeros(3), torch.zeros(90, 2, dtype=torch.uint8)], ids=str)
def test_a_sealed_model_that_is_none_is_refused_with_its_name(checkpoint, tmp_path, damage):
    path = str(tmp_path / "odd.pt")
    write_checkpoint({**checkpoint, "model": {SEALED: damage}}, path)
    with pytest.raises(UserError, match=f"{path}: this compressed checkpoint of .* is damaged"):
        read_checkpoint(path)
