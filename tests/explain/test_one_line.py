"""The reason of a failure is read from its first cause, and is one line."""

import argparse
import errno
import os
import pickle
import re
from collections import namedtuple

import pytest
import torch
from fairseq import checkpoint_utils, utils

from fairseq_lite.building import build_architecture
from fairseq_lite.checkpoints import read_checkpoint
from fairseq_lite.errors import UserError
from fairseq_lite.explain import misfit, one_line, unreadable_checkpoint


def failure(function, *args):
    with pytest.raises(BaseException) as caught:  # noqa: B017, PT011  what is raised is looked at
        function(*args)
    return caught.value


def raised_after(cause, error):
    """`error`, raised while `cause` was handled."""
    try:
        try:
            raise cause
        except BaseException:
            raise error  # noqa: B904  fairseq does it so
    except BaseException as caught:
        return caught


@pytest.mark.parametrize(
    "error, line",
    [
        (KeyboardInterrupt(), "interrupted"),
        (MemoryError(), "not enough memory"),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"), "not enough memory"),
        (PermissionError(errno.EACCES, os.strerror(errno.EACCES), "a.pt"), "a.pt: permission denied"),
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), "no space left on device"),
        (FloatingPointError("gradients are Nan/Inf"), "training diverged"),
        (ValueError("--finetune-from-model no.pt does not exist"), "--finetune-from-model no.pt: no such file"),
        (FileNotFoundError("Dataset not found: valid (bin)"), "bin: no valid data"),
        (AssertionError("--path required for generation!"), "--path required for generation!"),
        (Exception("AdaptiveLoss is not compatible with the PyTorch version"), "adaptive_loss: needs --ddp-backend"),
        (AttributeError("'NoneType' object has no attribute 'xla_device'"), "--bf16/--tpu: .* leave it out"),
        (AssertionError("Criterion does not match; please reset (--reset-optimizer). A vs B"), "with A and .* has B"),
        (UserError("--bits 9: must be 2 to 8"), "--bits 9: must be 2 to 8"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_failures(error, line):
    message = one_line(error)
    assert "\n" not in message
    assert re.search(line, message)


def test_a_bug_is_not_explained():
    assert one_line(failure(lambda: [].index(1))) is None


@pytest.mark.parametrize(
    "cause, line",
    [
        (KeyboardInterrupt(), "interrupted"),
        (UserError("a.pt: damaged"), "a.pt: damaged"),
        (FloatingPointError("gradients are Nan/Inf"), "training diverged"),
    ],
    ids=["interrupt", "explained", "diverged"],
)
def test_the_first_cause_counts(cause, line):
    outer = Exception("Cannot load model parameters from checkpoint a.pt; please ensure that the architectures match.")
    assert one_line(raised_after(cause, outer)).startswith(line)
    assert one_line(raised_after(cause, StopIteration())).startswith(line)


def test_weights_that_do_not_fit_are_counted_and_three_are_shown():
    wide, narrow = torch.nn.Linear(4, 4), torch.nn.Linear(3, 3)
    many = torch.nn.Sequential(*(torch.nn.Linear(2, 2) for _ in range(5)))
    line = misfit("a.pt", str(failure(narrow.load_state_dict, wide.state_dict())))
    assert "2 weights do not fit" in line and "weight is [4, 4] there and [3, 3] here" in line
    line = misfit("a.pt", str(failure(many.load_state_dict, {"extra": torch.zeros(1)})))
    assert "11 weights do not fit" in line and "another architecture" in line
    assert line.count("is missing there") == 3 and line.endswith("and 8 more")


class Command:
    def __reduce__(self):
        return os.system, ("true",)


def test_a_file_with_a_command_is_unsafe(tmp_path):
    path = str(tmp_path / "unsafe.pt")
    torch.save({"model": Command()}, path)
    with pytest.raises(UserError, match=f"{path}: unsafe to load, it holds posix.system"):
        read_checkpoint(path)


def test_what_is_no_checkpoint(tmp_path):
    path = tmp_path / "a.pt"
    assert unreadable_checkpoint(str(tmp_path), ValueError()).endswith(
        "is a folder; give the path of a checkpoint (.pt)"
    )
    path.write_bytes(pickle.dumps({"model": namedtuple}))
    assert "no archive of torch" in one_line(failure(checkpoint_utils.load_checkpoint_to_cpu, str(path)))
    torch.save({"cfg": {"model": {}}, "model": {}}, path)
    assert "has no 'best_loss'" in one_line(failure(checkpoint_utils.load_checkpoint_to_cpu, str(path)))


@pytest.mark.parametrize("failure_of", [KeyboardInterrupt(), MemoryError()], ids=["interrupt", "memory"])
def test_an_interrupt_while_loading_is_no_fault_of_the_file(monkeypatch, tmp_path, failure_of):
    def load(*args, **kwargs):
        raise failure_of

    path = tmp_path / "a.pt"
    torch.save({}, path)
    monkeypatch.setattr(torch, "load", load)
    line = one_line(failure(checkpoint_utils.load_checkpoint_to_cpu, str(path)))
    assert "readable" not in line


def test_a_value_that_is_no_list():
    parser = argparse.ArgumentParser(exit_on_error=False)
    parser.add_argument("--sizes", type=utils.eval_str_list)
    assert "--sizes abc: is no value of this option" in one_line(failure(parser.parse_args, ["--sizes", "abc"]))


@pytest.mark.parametrize(
    "arch, option, value",
    [
        ("transformer_tiny", "--encoder-attention-heads", "0"),
        ("transformer_tiny", "--encoder-layers", "-1"),
        ("transformer_tiny", "--encoder-layers", "1.5"),
        ("transformer_tiny", "--dropout", "7"),
        ("transformer_tiny", "--dropout", "nan"),
        ("transformer_tiny", "--adaptive-softmax-cutoff", "abc"),
        ("transformer_tiny", "--encoder-layers-to-keep", "x"),
        ("transformer_tiny", "--max-source-positions", "0"),
        ("transformer_lm", "--decoder-embed-dim", "-3"),
        ("transformer_lm", "--adaptive-softmax-cutoff", "20,10"),
        ("lite_transformer_tiny", "--encoder-kernel-sizes", "100000000,5"),
        ("lite_transformer_tiny", "--weight-dropout", "2"),
        ("lightconv_iwslt_de_en", "--encoder-kernel-size-list", "[1"),
    ],
)
def test_options_that_no_model_can_be_built_with(arch, option, value):
    with pytest.raises(UserError, match=f"{option}.*{re.escape(value)}"):
        build_architecture(arch, [option, value])


def test_options_that_do_not_fit_together():
    with pytest.raises(UserError, match="--arch transformer_tiny: cannot be built .*divisible by num_heads"):
        build_architecture("transformer_tiny", ["--encoder-attention-heads", "3"])
