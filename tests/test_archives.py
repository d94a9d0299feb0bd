"""Damaged archives of torch are refused, whoever reads them."""

import io
import random
import zipfile

import fairseq
import pytest
import torch

from fairseq_lite.archives import largest_inflated, load_file, require_whole_archive
from fairseq_lite.checkpoints import read_checkpoint
from fairseq_lite.converters.published import read_published
from fairseq_lite.errors import UserError
from fairseq_lite.measure.sizes import bytes_by_part

READERS = {
    "ours": read_checkpoint,
    "fairseq": fairseq.checkpoint_utils.load_checkpoint_to_cpu,
    "size": bytes_by_part,
    "convert": lambda path: read_published(path, lambda args: True, ""),
}


@pytest.fixture
def saved():
    """The bytes of a plain checkpoint, and the first one of a weight."""
    file = io.BytesIO()
    torch.save({"model": {"weight": torch.full((500,), 2.0)}, "cfg": {"model": {"width": 3}}, "args": None}, file)
    data = file.getvalue()
    return data, data.index(torch.full((50,), 2.0).numpy().tobytes())


@pytest.mark.parametrize("reader", READERS)
def test_a_flipped_bit_of_a_weight_is_refused_with_its_member(saved, tmp_path, reader):
    data, weight = saved
    path = tmp_path / "model.pt"
    path.write_bytes(data[: weight + 99] + bytes([data[weight + 99] ^ 1]) + data[weight + 100 :])
    with pytest.raises(UserError, match=rf"{path}: .* is damaged: the checksum of its member \w+/data/0 is wrong"):
        READERS[reader](str(path))


def test_no_flipped_bit_loads_as_another_model(saved, tmp_path):
    data, _ = saved
    whole = torch.load(io.BytesIO(data))
    rng, path = random.Random(1), tmp_path / "model.pt"
    for _ in range(300):
        position = rng.randrange(len(data))
        path.write_bytes(data[:position] + bytes([data[position] ^ 1 << rng.randrange(8)]) + data[position + 1 :])
        try:
            loaded = load_file(str(path))
        except Exception:
            continue
        assert torch.equal(loaded["model"]["weight"], whole["model"]["weight"])
        assert loaded["cfg"] == whole["cfg"]


@pytest.mark.parametrize("zipped", [True, False])
def test_whole_files_load(tmp_path, zipped):
    torch.save({"weight": torch.ones(3)}, tmp_path / "model.pt", _use_new_zipfile_serialization=zipped)
    assert load_file(str(tmp_path / "model.pt"))["weight"].sum() == 3


def test_options_that_inflate_without_bound_are_refused(tmp_path):
    path = tmp_path / "bomb.pt"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb/data.pkl", bytes(largest_inflated(100_000)))
    with pytest.raises(UserError, match="its member bomb/data.pkl inflates"):
        require_whole_archive(str(path))
