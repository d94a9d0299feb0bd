"""fairseq-lite choose-sublayers on toy corpora, and that it scores as fairseq-validate does."""

import json
import random
import re

import pytest
import torch
from commands import call
from fairseq import options
from fairseq.dataclass.utils import convert_namespace_to_omegaconf
from fairseq.models import build_model
from fairseq_cli import preprocess, validate

from fairseq_lite.building import task_of_sizes
from fairseq_lite.checkpoints import write_checkpoint
from fairseq_lite.cli import main
from fairseq_lite.measure.perplexity import load_for_validation
from fairseq_lite.modules.attention_transfer import linear_attentions, softmax_in_place

LM_OPTIONS = "--causal-window 3 --tokens-per-sample 32 --sample-break-mode eos --adaptive-softmax-cutoff 8,12"
LM_OPTIONS += " --criterion adaptive_loss --ddp-backend legacy_ddp"
OPTIONS = {
    "translation": (
        "--task translation -s de -t en --arch t2r_transformer_tiny"
        " --criterion label_smoothed_cross_entropy --label-smoothing 0.1 --eval-bleu --eval-bleu-args {}"
    ),
    "language model": f"--task language_modeling --arch t2r_transformer_lm_tiny --feature-map exp {LM_OPTIONS}",
    "lite": "--task translation -s de -t en --arch lite_transformer_tiny --decoder-feature-map exp"
    " --linear-attention causal,cross",
    "softmax": "--task translation -s de -t en --arch transformer_tiny",
}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """A folder with a corpus for both tasks."""
    folder, rng = tmp_path_factory.mktemp("corpus"), random.Random(1)
    lines = "".join(" ".join(rng.choices("abcdefghijkl", k=rng.randint(2, 9))) + "\n" for _ in range(30))
    for language in ("de", "en"):
        (folder / f"text.{language}").write_text(lines)
    splits = f"--trainpref {folder}/text --validpref {folder}/text"
    call(preprocess.cli_main, f"-s de -t en --joined-dictionary {splits} --destdir {folder}/pairs")
    splits = f"--trainpref {folder}/text.en --validpref {folder}/text.en"
    call(preprocess.cli_main, f"--only-source {splits} --destdir {folder}/text")
    return folder


def data_of(kind, corpus):
    return corpus / ("text" if kind == "language model" else "pairs")


@pytest.fixture(scope="module")
def checkpoints(corpus):
    """A checkpoint of each kind whose attention is far from uniform."""
    paths = {}
    torch.manual_seed(1)
    for kind, text in OPTIONS.items():
        given = [str(data_of(kind, corpus)), *text.split()]
        parser = options.get_training_parser(text.split()[1])
        cfg = convert_namespace_to_omegaconf(options.parse_args_and_arch(parser, given))
        model = build_model(cfg.model, task_of_sizes(16, 16))
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.mul_(1.5)
        history = [{"criterion_name": "", "optimizer_name": "", "lr_scheduler_state": {}, "num_updates": 0}]
        extra = {"train_iterator": {"epoch": 1, "iterations_in_epoch": 0}}
        checkpoint = {"cfg": cfg, "model": model.state_dict(), "optimizer_history": history, "extra_state": extra}
        paths[kind] = str(corpus / f"{kind.replace(' ', '_')}.pt")
        write_checkpoint({**checkpoint, "args": None, "task_state": {}}, paths[kind])
    return paths


@pytest.mark.parametrize("kind", ["translation", "language model"])
def test_the_perplexity_is_that_of_fairseq_validate(kind, corpus, checkpoints, capsys, caplog):
    data = data_of(kind, corpus)
    model, validation = load_for_validation(checkpoints[kind], str(data), "valid", 200)
    task = OPTIONS[kind].split(" --arch")[0]
    with caplog.at_level("INFO"):
        call(validate.cli_main, f"{data} {task} --path {checkpoints[kind]} --max-tokens 200 --log-format json")
    expected = float(re.findall(r'"valid_ppl": "([\d.]+)"', caplog.text + capsys.readouterr().out)[-1])
    assert validation.perplexity(model) == pytest.approx(expected, abs=0.006)


def run(kind, corpus, checkpoints, *more):
    arguments = [data_of(kind, corpus), "--path", checkpoints[kind], "--max-tokens", 200, "--positions", 5, *more]
    return main(["choose-sublayers", *map(str, arguments)])


@pytest.mark.parametrize("kind", ["translation", "language model", "lite"])
def test_the_rounds_lead_from_softmax_to_linear(kind, corpus, checkpoints, capsys):
    assert run(kind, corpus, checkpoints, "--most-loss", "1000", "--json") == 0
    out, progress = capsys.readouterr()
    found = json.loads(out)
    assert found["softmax_sublayers"] is None
    model, validation = load_for_validation(checkpoints[kind], str(data_of(kind, corpus)), "valid", 200)
    assert len(found["rounds"]) == len(linear_attentions(model)) + 1 == progress.count(", perplexity ")
    assert found["rounds"][-1]["perplexity"] == pytest.approx(validation.perplexity(model))
    with softmax_in_place(model):
        assert found["rounds"][0]["perplexity"] == pytest.approx(validation.perplexity(model))


def test_the_last_line_is_the_option(corpus, checkpoints, capsys):
    assert run("translation", corpus, checkpoints, "--most-loss", "0") == 0
    out, progress = capsys.readouterr()
    lines = out.splitlines()
    assert re.match(r"--softmax-sublayers \S+$", lines[-1])
    assert "none: all softmax" in lines[1]
    assert "keeps softmax" not in progress


@pytest.mark.parametrize(
    "kind, more, message",
    [
        ("translation", "--most-loss -0.1", "--most-loss -0.1: must be a number from 0"),
        ("translation", "--most-loss nan", "--most-loss nan: must be a number from 0"),
        ("translation", "--most-loss much", "--most-loss: invalid float value: 'much'"),
        ("translation", "--most-loss 1 --valid-subset other", "--valid-subset other: .* holds no such subset"),
        ("translation", "--most-loss 1 --max-tokens 0", "--max-tokens 0: must be from 1 to"),
        ("translation", "--most-loss 1 --max-tokens 3", "--max-tokens 3: a sentence of valid is longer; give more"),
        ("translation", "--most-loss 1 --positions 2000", "--positions 2000: this model takes 1 to 1024"),
        ("softmax", "--most-loss 1", "softmax.pt: has no linear attention"),
    ],
)
def test_mistakes(kind, more, message, corpus, checkpoints, capsys):
    try:
        status = run(kind, corpus, checkpoints, *more.split())
    except SystemExit as error:
        status = error.code
    assert status == 2
    assert re.search(f"error: .*{message}", capsys.readouterr().err.splitlines()[-1])


def test_data_that_is_not_there(tmp_path, checkpoints, capsys):
    command = ["choose-sublayers", str(tmp_path / "none"), "--path", checkpoints["translation"], "--most-loss", "1"]
    assert main(command) == 2
    assert re.search("none: no such folder", capsys.readouterr().err)
