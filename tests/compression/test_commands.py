"""What the commands that compress, average and measure checkpoints refuse and write, in this process."""

import argparse
import json

import pytest
import torch
from fairseq.dataclass.utils import convert_namespace_to_omegaconf

from fairseq_lite.checkpoints import read_checkpoint, write_checkpoint
from fairseq_lite.cli import main

FC1 = "encoder.layers.0.fc1"


def model(seed):
    generator = torch.Generator().manual_seed(seed)
    return {
        "encoder.embed_tokens.weight": torch.randn(50, 40, generator=generator),
        f"{FC1}.weight": torch.randn(60, 40, generator=generator),
        f"{FC1}.bias": torch.randn(60, generator=generator),
    }


@pytest.fixture(scope="module")
def cfg():
    options = argparse.Namespace(arch="transformer_tiny", task="translation", criterion="cross_entropy")
    return convert_namespace_to_omegaconf(options)


@pytest.fixture
def saved(cfg, tmp_path):
    """Writes a checkpoint as training leaves it, of some weights; returns its path."""

    def saved(name, state=None, pruned=0):
        state = state or model(len(name))
        for key in ("weight", "bias"):
            state[f"{FC1}.{key}"][:pruned] = 0
        checkpoint = {
            "args": None,
            "cfg": cfg,
            "model": state,
            "optimizer_history": [{"lr_scheduler_state": {}, "num_updates": 0}],
            "extra_state": {"train_iterator": {"epoch": 1}, "ema": state},
            "last_optimizer_state": {"exp_avg": [torch.zeros(1000)]},
        }
        path = str(tmp_path / name)
        write_checkpoint(checkpoint, path)
        return path

    return saved


@pytest.fixture
def refused(capsys, tmp_path):
    """Asserts that a command fails with one line that has all parts, and neither changes nor leaves a file."""

    def refused(command, *parts):
        before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
        assert main(command) == 2
        lines = capsys.readouterr().err.splitlines()
        assert len(lines) == 1 and all(part in lines[0] for part in parts), lines
        assert before == {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}

    return refused


@pytest.mark.parametrize(
    "options, message",
    [
        (["--bits", "9"], "error: --bits 9: must be 2 to 8"),
        (["--prune-weights", "nan"], "error: --prune-weights nan: must be at least 0"),
        (["--keep", "norms?$"], "error: --keep norms?$: is found in the name of no tensor"),
        (["--method", "linear", "--per-row"], "error: --per-row: is for kmeans"),
    ],
)
def test_options_of_compress_without_effect(saved, refused, tmp_path, options, message):
    refused(["compress", saved("in.pt"), str(tmp_path / "out.pt"), *options], message)


@pytest.mark.parametrize("command", ["compress", "average", "decompress"])
@pytest.mark.parametrize("output", ["folder", "folder/", "none/out.pt", "sealed.pt", ""])
def test_outputs_are_refused_before_the_work(refused, tmp_path, command, output):
    (tmp_path / "folder").mkdir()
    (tmp_path / "sealed.pt").write_bytes(b"kept")
    (tmp_path / "sealed.pt").chmod(0o444)
    # The input is missing: nobody looks for it.
    name = f"{tmp_path}/{output}" if output else ""
    refused([command, str(tmp_path / "missing.pt"), name], output or "empty name")


@pytest.mark.parametrize("command", ["compress", "average"])
@pytest.mark.parametrize("place", [f"{FC1}.weight", f"{FC1}.bias"])
def test_weights_that_are_not_finite_are_named(saved, refused, tmp_path, command, place):
    state = model(1)
    state[place].view(-1)[3] = float("nan")
    refused([command, saved("in.pt", state), str(tmp_path / "out.pt")], "in.pt", place)


def test_the_output_of_an_average_cannot_be_forgotten(saved, refused, tmp_path):
    inputs = [saved("a.pt"), saved("bb.pt"), saved("ccc.pt")]
    refused(["average", *inputs], "ccc.pt: is a checkpoint of the same model")
    mean = str(tmp_path / "mean.pt")
    for _ in range(2):  # a mean may be written over
        assert main(["average", *inputs, mean]) == 0
    result = read_checkpoint(mean)
    assert "ema" not in result["extra_state"] and "last_optimizer_state" not in result
    (tmp_path / "other.pt").write_text("no checkpoint")
    assert main(["average", *inputs, str(tmp_path / "other.pt")]) == 0


def test_an_average_keeps_masks_or_refuses(saved, refused, tmp_path):
    half, quarter, other = saved("a.pt", pruned=30), saved("bb.pt", pruned=15), saved("ccc.pt", pruned=30)
    refused(["average", quarter, half, str(tmp_path / "mean.pt")], "50.0% of its neurons", "25.0%", "a.pt", "bb.pt")
    assert main(["average", half, other, str(tmp_path / "mean.pt")]) == 0
    assert not read_checkpoint(str(tmp_path / "mean.pt"))["model"][f"{FC1}.weight"][:30].any()


def test_an_average_of_different_masks_of_weights_is_refused(saved, refused, tmp_path):
    paths = []
    for name, share in (("a.pt", 0.5), ("bb.pt", 0.2)):
        state = model(len(name))
        weight = state[f"{FC1}.weight"]
        weight[:, : int(share * weight.size(1))] = 0
        paths.append(saved(name, state))
    refused(["average", *paths, str(tmp_path / "mean.pt")], "50.0% of its weights", "20.0%")


def test_compressed_files_are_compressed_again_and_decompressed_once(saved, refused, tmp_path, capsys):
    plain, small, smaller = saved("in.pt"), str(tmp_path / "small.pt"), str(tmp_path / "smaller.pt")
    assert main(["compress", plain, small]) == 0
    assert "compressed already" not in capsys.readouterr().out
    assert main(["compress", small, smaller, "--bits", "2"]) == 0
    assert "small.pt, which was compressed already, into" in capsys.readouterr().out
    capsys.readouterr()
    refused(["decompress", plain, str(tmp_path / "out.pt")], "in.pt: is not compressed")
    assert main(["decompress", smaller, str(tmp_path / "out.pt")]) == 0
    state = torch.load(tmp_path / "out.pt")["model"]
    assert len(state[f"{FC1}.weight"].unique()) <= 4


def test_ratios_are_of_weights_and_the_optimizer_stands_apart(saved, tmp_path, capsys):
    plain, small = saved("in.pt"), str(tmp_path / "small.pt")
    main(["compress", plain, small])
    capsys.readouterr()
    assert main(["size", plain, small, "--json"]) == 0
    first, second = json.loads(capsys.readouterr().out)
    weights = 50 * 40 + 60 * 40 + 60
    assert first["weights"] == 4 * weights and first["optimizer"] == 4000 and second["optimizer"] == 0
    codebooks = 2 * (2 * 256 + 8)
    assert second["weights"] == weights + 60 + codebooks
    assert first["ratio"] == 1 and second["ratio"] == first["weights"] / second["weights"]
    assert main(["size", plain, small]) == 0
    rows = {line[:20].strip(): line.split()[-2:] for line in capsys.readouterr().out.splitlines()}
    assert rows["times smaller"] == ["1.00", f"{second['ratio']:.2f}"]
    assert rows["optimizer"] == ["4,000", "0"]


@pytest.mark.parametrize(
    "tensor",
    [
        torch.zeros(1).expand(1 << 20, 1 << 14),
        torch.zeros(1 << 12).as_strided((1 << 11, 1 << 11), (1, 1)),
        torch.eye(3).to_sparse(),
        torch.zeros(1 << 40, device="meta"),
    ],
    ids=["expanded", "overlapping", "sparse", "meta"],
)
@pytest.mark.parametrize("command", ["average", "compress"])
def test_weights_that_are_not_in_the_file_take_no_memory(saved, refused, tmp_path, command, tensor):
    whole = torch.load(saved("in.pt"))
    whole["model"]["bomb"] = tensor
    torch.save(whole, tmp_path / "odd.pt")
    refused([command, str(tmp_path / "odd.pt"), str(tmp_path / "out.pt")], "odd.pt")


@pytest.mark.parametrize(
    "content", [{"model": 5}, {"model": {"w": 3}}, {"extra_state": []}, {"cfg": {"task": {}}}], ids=str
)
def test_odd_contents_are_one_line(saved, refused, tmp_path, content):
    whole = torch.load(saved("in.pt"))
    torch.save({**whole, **content}, tmp_path / "odd.pt")
    refused(["average", str(tmp_path / "odd.pt"), str(tmp_path / "out.pt")], "odd.pt")
