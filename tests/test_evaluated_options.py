"""No option of a checkpoint is run as a program."""

import argparse
import re
from pathlib import Path

import fairseq
import pytest
import torch
from composed import composed

from fairseq_lite.archives import load_file
from fairseq_lite.checkpoints import read_checkpoint, write_checkpoint
from fairseq_lite.compression.files import compress, save_deflated
from fairseq_lite.compression.scheme import Scheme
from fairseq_lite.errors import UserError
from fairseq_lite.evaluated_options import EVALUATED, require_literal_options


def test_every_option_that_the_installed_fairseq_evaluates_is_known():
    evaluation = r"\beval(?:_str_list|_str_dict|_bool)?\(\s*(?:\w+\.)*(?:cfg|args|config)\.(\w+)"
    sources = [path for path in Path(fairseq.__file__).parent.rglob("*.py") if "examples" not in path.parts]
    found = {name for path in sources for name in re.findall(evaluation, path.read_text(encoding="utf-8"))}
    assert {"adaptive_softmax_cutoff", "encoder_layers", "adam_betas"} <= found <= EVALUATED


@pytest.mark.parametrize("name", sorted(EVALUATED - {"pretrained"}))
@pytest.mark.parametrize("text", ["__import__('os').system('id')", "[1, print(2)]", "(lambda: 3)()", "${oc.env:HOME}"])
def test_programs_are_refused(name, text):
    for section in (
        {"cfg": {"model": argparse.Namespace(**{name: text})}},
        {"args": argparse.Namespace(**{name: text})},
    ):
        with pytest.raises(UserError, match=rf"m\.pt: its option {name} is .* it is not safe to load"):
            require_literal_options(section, "m.pt")


@pytest.mark.parametrize(
    "name, text",
    [
        ("adaptive_softmax_cutoff", "10,20"),
        ("adaptive_input_cutoff", "[10, 20]"),
        ("encoder_layers", "[(512, 3)] * 20 + [(1024, -1)]"),
        ("decoder_attention", "True"),
        ("adam_betas", "(0.9, 0.98)"),
        ("pretrained", "runs/pretrained.pt"),
        ("data", "eval(this)"),
    ],
)
def test_what_fairseq_writes_passes(name, text):
    require_literal_options({"cfg": {"task": {name: text}, "model": argparse.Namespace(**{name: text})}}, "m.pt")


@pytest.mark.parametrize(
    "name, text",
    [
        ("adaptive_softmax_cutoff", "'ten'"),
        ("encoder_layers", "[(512, 3)] * 1000000000"),
        ("encoder_layers", "[1] * 999 * 999"),
        ("encoder_layers", "[1] * (1000000000 + 1)"),
        ("encoder_layers", "[1] * +1000000000"),
        ("encoder_layers", "9 ** 999999"),
        ("decoder_layers", "(" * 500 + ")" * 500),
    ],
)
def test_what_is_no_list_of_numbers_or_too_long(name, text):
    with pytest.raises(UserError, match=name):
        require_literal_options({"cfg": {"model": {name: text}}}, "m.pt")


def attacked(tmp_path, how):
    """A checkpoint whose option writes a file when it is evaluated; the path of the checkpoint and of that file."""
    path, trace = tmp_path / "model.pt", tmp_path / "ran"
    program = f"[open({str(trace)!r}, 'w'), 5][1:]"
    options = argparse.Namespace(
        arch="transformer_tiny", task="translation", criterion="cross_entropy", adaptive_softmax_cutoff=program
    )
    checkpoint = {
        "args": None,
        "cfg": composed(options),
        "model": {"weight": torch.randn(40, 50)},
        "optimizer_history": [{"lr_scheduler_state": {}, "num_updates": 0}],
        "extra_state": {"train_iterator": {"epoch": 1}},
    }
    if how == "args":
        torch.save({**checkpoint, "cfg": None, "args": options}, path)
    elif how == "compressed":
        write_checkpoint(compress(checkpoint, Scheme(4)), str(path), save_deflated)
    else:
        write_checkpoint(checkpoint, str(path))
    return path, trace


@pytest.mark.parametrize("how", ["plain", "compressed", "args"])
def test_no_reader_runs_them(tmp_path, how):
    path, trace = attacked(tmp_path, how)
    load_file(str(path))
    for read in (read_checkpoint, fairseq.checkpoint_utils.load_checkpoint_to_cpu):
        with pytest.raises(UserError, match=f"{path}: its option adaptive_softmax_cutoff is "):
            read(str(path))
    assert not trace.exists()
