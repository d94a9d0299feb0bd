"""Bad inputs, drawn by chance from a table: each ends in one line and status 2, and leaves all files as they were.

SEED=N in the environment draws others.
"""

import argparse
import errno
import os

import pytest
import torch
from faults import READING, bert_config, digests, seeded

from fairseq_lite.building import build_architecture
from fairseq_lite.checkpoints import write_checkpoint
from fairseq_lite.cli import main
from fairseq_lite.compression.files import compress
from fairseq_lite.compression.tensors import Scheme
from fairseq_lite.converters.published import checkpoint_of

SEED = int(os.environ.get("SEED", 1))
PER_FAULT = 6

# Commands that read a checkpoint; {bad} is the faulty file, {good} a sound one, {out} a file to write.
READERS = (
    "average {good} {bad} {out}",
    "average {bad} {good} {out}",
    "compress {bad} {out} --bits 4",
    "decompress {bad} {out}",
    "shrink {bad} {out}",
    "take-layers {bad} {out} --encoder 0",
    "sparsity {bad}",
    "mult-adds {bad}",
    "latency {bad} --rounds 1 --batch-sizes 1",
    "latency {good} {bad} --rounds 1 --batch-sizes 1",
)
# `size` reports the bytes of whatever is a checkpoint. These faults of a model are none to it, and the first four
# none to the other commands that only handle tensors.
EVERY_READER = (*READERS, "size {bad}", "size {good} {bad}")
TENSORS_ONLY = {"weight_missing", "weight_of_another_shape", "unknown_architecture", "option_of_another_type"}
FORMLESS = {*TENSORS_ONLY, "not_finite", "without_options", "option_that_runs_code"}
CONVERTERS = ("convert lite-transformer {bad} {out}", "convert t2r {bad} {out}", "convert bert {bad} {out}")
CONVERTED = ("missing", "empty", "text", "noise", "truncated", "harmful_pickle", "another_object", "without_options")
WRITERS = (
    "average {good} {good} {out}",
    "compress {good} {out}",
    "decompress {small} {out}",
    "shrink {masked} {out}",
    "take-layers {good} {out} --decoder 1",
    "sparsity {masked} --plot {out}",
)
BAD_OUTPUTS = ("folder", "in_a_missing_folder", "in_a_file", "the_input", "disk_full")
NUMBERS = ("-1", "0", "1e400", "nan", "many", "", "99999999999999999999")
# (command, option): none of NUMBERS is a value of the option.
NUMERIC_OPTIONS = (
    ("compress {good} {out}", "--bits"),
    ("latency {good}", "--rounds"),
    ("latency {good}", "--batch-sizes"),
    ("latency {good}", "--beam"),
    ("latency {good}", "--threads"),
    ("latency {good}", "--tgt-len"),
    ("latency {good}", "--src-len"),
    ("mult-adds {good}", "--src-len"),
    ("mult-adds {good}", "--tgt-len"),
    ("mult-adds --arch transformer_tiny", "--vocab-size"),
    ("mult-adds --arch lite_transformer_tiny", "--encoder-attention-dim"),
    ("average {folder} {out}", "--last"),
    ("choose-sublayers {folder} --most-loss 0.1 --path {good}", "--max-tokens"),
    ("choose-sublayers {folder} --most-loss 0.1 --path {good}", "--positions"),
)
MISTYPED = (
    "",
    "squash {good}",
    "compress {good}",
    "compress {good} {out} --bit 4",
    "compress {good} {out} --method median",
    "compress {good} {out} --method linear --per-row",
    "compress {good} {out} --keep no_such_tensor",
    "compress {good} {out} --keep (",
    "compress {good} {out} --prune-weights 1.5",
    "compress {good} {out} --prune-weights nan",
    "decompress {good} {out} more",
    "shrink {good} {out}",
    "shrink {good} {out} --fast",
    "take-layers {good} {out}",
    "take-layers {good} {out} --encoder 0,7",
    "take-layers {good} {out} --decoder one",
    "sparsity",
    "sparsity {masked} --plot {out}.txt",
    "size",
    "size {good} --dict {folder}/no.txt",
    "choose-sublayers {folder} --path {good}",
    "choose-sublayers {folder} --most-loss 0.1",
    "choose-sublayers {folder} --path {good} --most-loss 0.1 more",
    "convert {good} {out}",
    "convert marian {good} {out}",
    "mult-adds",
    "mult-adds {good} {good}",
    "mult-adds --arch no_such",
    "mult-adds --arch lite_transformer_tiny --encoder-kernel-sizes 3,x",
    "mult-adds --arch lite_transformer_tiny --weight-dropout 7",
    "mult-adds --arch transformer_tiny --encoder-attention-heads 5",
    "latency {good} --rounds",
    "user-dir {good}",
    "average {folder} {out} --last 99",
    "average {good} {out} --last 1",
)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A sound checkpoint, one with pruned neurons and a compressed one."""
    folder = tmp_path_factory.mktemp("files")
    model = build_architecture("transformer_tiny", ["--share-decoder-input-output-embed"], 20)
    options = argparse.Namespace(arch="transformer_tiny", share_decoder_input_output_embed=True, task="translation")
    good = checkpoint_of(options, model.state_dict(), "model")
    write_checkpoint(good, str(folder / "good.pt"))
    masked = torch.load(folder / "good.pt")
    for name in ("weight", "bias"):
        masked["model"][f"encoder.layers.0.fc1.{name}"][:10] = 0
    torch.save(masked, folder / "masked.pt")
    write_checkpoint(compress(good, Scheme(4)), str(folder / "small.pt"))
    return {"good": folder / "good.pt", "masked": folder / "masked.pt", "small": folder / "small.pt"}


def status_of(argv):
    try:
        return main(argv)
    except SystemExit as parser_error:
        return parser_error.code


def fails_in_one_line(capsys, command, folder, files, status=2, **paths):
    """The command ends with the status and one line, and all files are what they were."""
    paths = {**files, "folder": folder, "out": folder / "out.pt", **paths}
    argv = [part.format(**paths) for part in command.split()]
    inputs = folder, files["good"].parent
    before = [digests(place) for place in inputs]
    capsys.readouterr()
    assert status_of(argv) == status, argv
    printed = capsys.readouterr().err.splitlines()
    assert [line for line in printed if line.startswith("fairseq-lite")] == printed, (argv, printed)
    assert len(printed) == 1 and "error: " in printed[0] and len(printed[0]) < 1000, (argv, printed)
    assert [digests(place) for place in inputs] == before, argv
    return printed[0]


def draws():
    """(fault, command) by chance, each fault equally often."""
    for fault in READING:
        commands = [c for c in EVERY_READER if fault not in FORMLESS or not c.startswith("size")]
        if fault in TENSORS_ONLY:
            commands = [c for c in commands if c.split()[0] in ("mult-adds", "latency", "shrink")]
        rng = seeded(f"{SEED} {fault}")
        for number in range(PER_FAULT):
            yield pytest.param(fault, rng.choice(commands), f"{SEED} {fault} {number}", id=f"{fault}-{number}")


@pytest.mark.parametrize("fault, command, seed", draws())
def test_a_faulty_checkpoint(capsys, files, tmp_path, fault, command, seed):
    rng = seeded(seed)
    bad = tmp_path / "bad.pt"
    source = files["small"] if fault in ("truncated", "flipped_bit") and rng.random() < 0.5 else files["good"]
    READING[fault](source, bad, rng)
    line = fails_in_one_line(capsys, command, tmp_path, files, bad=bad)
    assert str(bad) in line


@pytest.mark.parametrize("number", range(2))
@pytest.mark.parametrize("fault", [*CONVERTED, "bert_config"])
@pytest.mark.parametrize("command", CONVERTERS)
def test_a_faulty_published_checkpoint(capsys, files, tmp_path, command, fault, number):
    bad = tmp_path / "bad"
    {**READING, "bert_config": bert_config}[fault](files["good"], bad, seeded(f"{SEED} {fault} {number}"))
    assert str(bad) in fails_in_one_line(capsys, command, tmp_path, files, bad=bad)


@pytest.mark.parametrize("fault", BAD_OUTPUTS)
@pytest.mark.parametrize("command", WRITERS)
def test_an_output_that_cannot_be_written(capsys, files, tmp_path, monkeypatch, command, fault):
    out = tmp_path / "out.png" if "plot" in command else tmp_path / "out.pt"
    if fault == "folder":
        out.mkdir()
    elif fault == "in_a_missing_folder":
        out = tmp_path / "missing" / out.name
    elif fault == "in_a_file":
        (tmp_path / "file").write_text("")
        out = tmp_path / "file" / out.name
    elif fault == "the_input":
        out = next(files[name] for name in files if f"{{{name}}}" in command)
    else:

        def full(*_):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr(os, "fsync", full)
    assert str(out) in fails_in_one_line(capsys, command, tmp_path, files, out=out)


@pytest.mark.parametrize("command, option", NUMERIC_OPTIONS)
def test_a_number_that_is_none(capsys, files, tmp_path, command, option):
    for number in NUMBERS:
        command_with_option = f"{command} {option}={number}"
        assert option in fails_in_one_line(capsys, command_with_option, tmp_path, files)


@pytest.mark.parametrize("command", MISTYPED)
def test_a_mistyped_command(capsys, files, tmp_path, command):
    fails_in_one_line(capsys, command, tmp_path, files)


@pytest.mark.parametrize("command", EVERY_READER)
@pytest.mark.parametrize(
    "error, status", [(KeyboardInterrupt(), 130), (MemoryError(), 2), (PermissionError(13, "Permission denied"), 2)]
)
def test_what_is_no_fault_of_the_file(capsys, files, tmp_path, monkeypatch, command, error, status):
    def load(*_, **__):
        raise error

    monkeypatch.setattr(torch, "load", load)
    line = fails_in_one_line(capsys, command, tmp_path, files, status, bad=files["masked"])
    assert "not a readable checkpoint" not in line
