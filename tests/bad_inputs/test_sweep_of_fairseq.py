"""Bad inputs of fairseq's own commands, drawn by chance: each is explained in one line, and no file is changed.

SEED=N in the environment draws others.
"""

import argparse
import os
import shutil

import pytest
from commands import call
from fairseq_cli import eval_lm, generate, interactive, preprocess, train, validate
from faults import READING, digests, seeded

from fairseq_lite.building import build_architecture
from fairseq_lite.checkpoints import write_checkpoint
from fairseq_lite.converters.published import checkpoint_of
from fairseq_lite.errors import MISTAKE, exit_status
from fairseq_lite.explain import one_line

SEED = int(os.environ.get("SEED", 1))
PER_FAULT = 2
TRANSLATION = "{data} --cpu --path {path} --batch-size 4 --task translation -s de -t en"
READERS = {
    "generate": (generate.cli_main, TRANSLATION),
    "interactive": (interactive.cli_main, f"{TRANSLATION} --input {{data}}/dict.de.txt --buffer-size 4"),
    "validate": (validate.cli_main, f"{TRANSLATION} --criterion cross_entropy --valid-subset test"),
    "eval-lm": (eval_lm.cli_main, "{data} --cpu --path {path} --batch-size 4"),
}
TRAINING = (
    "{data} --cpu --task translation -s de -t en --arch {arch} --optimizer adam --lr 0.001 --batch-size 4"
    " --max-update 1 --save-dir {out} --no-progress-bar --num-workers 0 --disable-validation"
)
LEARNING = "--criterion cross_entropy_with_distillation"
# (architecture, option, values of which none can be trained with)
UNTRAINABLE = (
    ("lite_transformer_tiny", "--encoder-kernel-sizes", ("0,3", "x", "3", "-1,3", "3,100000000")),
    ("lite_transformer_tiny", "--encoder-attention-dim", ("0", "-2", "7", "x", "65")),
    ("lite_transformer_tiny", "--encoder-conv-type", ("circular", "")),
    ("lite_transformer_tiny", "--decoder-conv-heads", ("0", "5", "-1")),
    ("lite_transformer_tiny", "--weight-dropout", ("-1", "1.5", "nan", "x")),
    ("lite_transformer_tiny", "--ffn-init-ratio", ("inf", "-1", "nan")),
    ("lite_transformer_tiny", "--decoder-feature-map", ("relu", "")),
    ("transformer_tiny", "--encoder-layers", ("-1", "x", "99999999")),
    ("transformer_tiny", "--encoder-attention-heads", ("0", "7", "-4")),
    ("transformer_tiny", "--decoder-embed-dim", ("0", "-64", "x")),
    ("transformer_tiny", "--dropout", ("-0.5", "2", "x")),
    ("transformer_tiny", "--adaptive-softmax-cutoff", ("4,2", "x", "__import__('os')")),
    ("transformer_tiny", "--activation-fn", ("sine", "")),
    ("t2r_transformer_tiny", "--causal-feature-dim", ("0", "-1", "x")),
    ("t2r_transformer_tiny", "--softmax-layers", ("9", "x", "-1")),
    ("t2r_transformer_tiny", "--softmax-sublayers", ("9", "cross.2", "local", "-1", "cross,,0")),
    ("transformer_tiny", "--criterion", ("no_such", "cross_entropy_with_pruning --pruning-target 2")),
    ("transformer_tiny", "--teacher", tuple(f"{path} {LEARNING}" for path in ("{out}/no.pt", "{data}", "{data}:"))),
    ("transformer_tiny", "--finetune-from-model", ("{out}/missing.pt", "{data}", "{data}/dict.de.txt")),
    ("transformer_tiny", "--restore-file", ("{data}/dict.de.txt",)),
    ("no_such_architecture", "--dropout", ("0.1",)),
)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A binarised corpus of five sentences and a model for it."""
    folder = tmp_path_factory.mktemp("files")
    for language in ("de", "en"):
        (folder / f"text.{language}").write_text("a b c d\nb c\nc d a b\na\nd d\n")
    splits = " ".join(f"--{split}pref {folder}/text" for split in ("train", "test"))
    call(preprocess.cli_main, f"-s de -t en --joined-dictionary {splits} --destdir {folder}/data --workers 1")
    shutil.copy(folder / "data" / "dict.de.txt", folder / "data" / "dict.txt")
    model = build_architecture("transformer_tiny", [], 8)
    options = argparse.Namespace(arch="transformer_tiny", task="translation", criterion="cross_entropy")
    write_checkpoint(checkpoint_of(options, model.state_dict(), "model"), str(folder / "good.pt"))
    return folder


def explained(capsys, command, arguments):
    """The line that a command ends on; its parser prints the usage before it."""
    capsys.readouterr()
    try:
        call(command, arguments)
    except SystemExit as parser_error:
        assert parser_error.code == MISTAKE, arguments
        return capsys.readouterr().err.splitlines()[-1]
    except Exception as error:
        line = one_line(error)
        assert line and "\n" not in line and len(line) < 1000, (arguments, line, error)
        assert exit_status(error) == MISTAKE
        return line
    raise AssertionError(f"no error: {arguments}")


@pytest.mark.parametrize("number", range(PER_FAULT))
@pytest.mark.parametrize("fault", [fault for fault in READING if fault != "not_finite"])
def test_a_faulty_checkpoint(capsys, files, tmp_path, fault, number):
    rng = seeded(f"{SEED} {fault} {number}")
    command, arguments = READERS[rng.choice(list(READERS))]
    bad = tmp_path / "bad.pt"
    READING[fault](files / "good.pt", bad, rng)
    before = [digests(folder) for folder in (files, tmp_path)]
    line = explained(capsys, command, arguments.format(data=files / "data", path=bad))
    # what fairseq builds from a checkpoint's options is refused by the option's name
    assert str(bad) in line or fault == "option_of_another_type" and "--" in line
    assert [digests(folder) for folder in (files, tmp_path)] == before


@pytest.mark.parametrize("architecture, option, values", UNTRAINABLE, ids=lambda value: str(value).split(",")[0])
def test_an_option_that_nothing_can_be_trained_with(capsys, files, tmp_path, architecture, option, values):
    value = seeded(f"{SEED} {architecture} {option}").choice(values)
    arguments = f"{TRAINING} {option}={value}".format(data=files / "data", out=tmp_path / "out", arch=architecture)
    before = digests(files)
    line = explained(capsys, train.cli_main, arguments)
    named = (option, option.lstrip("-").replace("-", "_"), architecture, str(files))
    assert any(name in line for name in named) or "--pruning-target 2" in line, (arguments, line)
    assert digests(files) == before
    assert not list(tmp_path.rglob("*.pt"))
