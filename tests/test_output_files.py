"""Outputs are refused before the work, or written as a whole."""

import os
import resource

import pytest
import torch

from fairseq_lite.errors import UserError
from fairseq_lite.output_files import check_output, write_atomically


def listing(folder):
    return {path.name: path.read_bytes() if path.is_file() else None for path in folder.iterdir()}


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "in.pt").write_bytes(b"input")
    (tmp_path / "in.pt.tmp").write_bytes(b"another")
    (tmp_path / "old.pt").write_bytes(b"old")
    (tmp_path / "sealed.pt").write_bytes(b"sealed")
    (tmp_path / "sealed.pt").chmod(0o444)
    (tmp_path / "models").mkdir()
    (tmp_path / "link.pt").symlink_to("old.pt")
    return tmp_path


@pytest.mark.parametrize(
    "output, why",
    [
        ("", "an empty name"),
        ("models", "is a folder"),
        ("new/", "is a folder"),
        ("none/out.pt", "does not exist"),
        ("in.pt", "is an input too"),
        ("sealed.pt", "is read-only"),
        ("in.pt/out.pt", "does not exist"),
        ("x" * 300, "File name too long"),
        ("/dev/null", "is a device"),
    ],
)
def test_outputs_that_cannot_be_written(folder, output, why):
    before = listing(folder)
    with pytest.raises(UserError, match=why) as error:
        check_output(os.path.join(folder, output) if output else output, [str(folder / "in.pt")])
    assert "\n" not in str(error.value)
    assert listing(folder) == before


@pytest.mark.parametrize("output", ["out.pt", "old.pt", "models/out.pt", "in.pt.tmp", "link.pt"])
def test_outputs_that_can(folder, output):
    check_output(str(folder / output), [str(folder / "in.pt")])
    with write_atomically(str(folder / output)) as file:
        file.write(b"new")
    assert (folder / output).read_bytes() == b"new"
    assert (folder / "in.pt").read_bytes() == b"input"
    assert not [path for path in folder.rglob("*.tmp") if path.name != "in.pt.tmp"]


def test_a_link_stays_a_link_and_a_file_keeps_its_permissions(folder):
    (folder / "old.pt").chmod(0o600)
    with write_atomically(str(folder / "link.pt"), text=True) as file:
        file.write("ä")
    assert (folder / "link.pt").is_symlink()
    assert (folder / "old.pt").read_text(encoding="utf-8") == "ä"
    assert (folder / "old.pt").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_failure_leaves_everything_as_it_was(folder, error):
    before = listing(folder)
    with pytest.raises(error), write_atomically(str(folder / "old.pt")) as file:
        file.write(b"half")
        raise error
    assert listing(folder) == before


def test_writers_of_one_file_do_not_meet(folder):
    with write_atomically(str(folder / "out.pt")) as first:
        first.write(b"fir")
        with write_atomically(str(folder / "out.pt")) as second:
            second.write(b"second")
        first.write(b"st")
    assert (folder / "out.pt").read_bytes() == b"first"


def test_a_full_disk_is_reported_as_such(folder):
    """A limit to the size of files fails in the middle of writing, as a full disk does."""
    before = listing(folder)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, limits[1]))
    try:
        refused = pytest.raises(UserError, match="old.pt: cannot be written .File too large.")
        with refused, write_atomically(str(folder / "old.pt")) as file:
            torch.save({"weight": torch.zeros(1 << 16)}, file)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert listing(folder) == before
