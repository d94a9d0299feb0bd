"""A BERT, converted, finetuned by fairseq's commands to tell classes of sentences."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from checks import assert_same_weights
from toy_bert import PLACES, POSITIONS, SIZES, write_bert, write_sentences

from fairseq_lite.checkpoints import load_model

pytest.importorskip("safetensors")

HEAD = "sentence_classification_head"


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    """A folder as transformers saves a BERT."""
    folder = tmp_path_factory.mktemp("bert")
    write_bert(folder)
    return folder


@pytest.fixture(scope="module")
def pretrained(run, bert):
    run("fairseq-lite", "convert", "bert", bert, bert / "fairseq")
    return bert / "fairseq"


@pytest.fixture(scope="module")
def sentences(tmp_path_factory):
    """Sentences of two classes, a line each."""
    folder = tmp_path_factory.mktemp("sentences")
    write_sentences(folder)
    return folder


@pytest.fixture(scope="module")
def binarised(run, pretrained, sentences, tmp_path_factory):
    folder = tmp_path_factory.mktemp("binarised")
    for kind, name, options in (
        ("text", "input0", ["--srcdict", pretrained / "dict.txt"]),
        ("label", "label", ["--padding-factor", 1]),
    ):
        texts = [f"--{split}pref={sentences / split}.{kind}" for split in ("train", "valid")]
        run("fairseq-preprocess", "--only-source", *texts, *options, "--destdir", folder / name)
    return folder


ROBERTA = f"--arch roberta {SIZES} --lr 0.01 --max-epoch 6"


@pytest.fixture(scope="module")
def train_classifier(run, plugin, binarised):
    """Trains into a folder; returns the checkpoint."""

    def train(folder, criterion, *options):
        # To the end of an epoch: the thread that reads ahead in fairseq can abort a process that ends before.
        run(
            "fairseq-train", binarised, "--user-dir", plugin, "--cpu", "--task", "sentence_prediction",
            "--num-classes", 2, "--criterion", criterion, "--init-token", 0, "--max-positions", POSITIONS,
            "--optimizer", "adam", "--batch-size", 30, "--num-workers", 0, "--no-epoch-checkpoints",
            "--disable-validation", "--save-dir", folder, *options,
        )  # fmt: skip
        return folder / "checkpoint_last.pt"

    return train


@pytest.fixture(scope="module")
def finetuned(train_classifier, pretrained, tmp_path_factory):
    folder = tmp_path_factory.mktemp("finetuned")
    start = ["--finetune-from-model", pretrained / "model.pt"]
    return train_classifier(folder, "sentence_prediction", *ROBERTA.split(), *start)


@pytest.fixture(scope="module")
def accuracy(run, plugin, binarised):
    def accuracy(path):
        process = run(
            "fairseq-validate", binarised, "--user-dir", plugin, "--cpu", "--task", "sentence_prediction",
            "--criterion", "sentence_prediction", "--path", path, "--valid-subset", "valid", "--batch-size", 40,
            "--log-format", "simple",
        )  # fmt: skip
        return float(re.search(r"\| accuracy (\S+)", process.stdout + process.stderr)[1])

    return accuracy


def test_finetuning_starts_from_the_converted_model(finetuned, accuracy):
    assert accuracy(finetuned) > 90
    logits, _ = load_model(str(finetuned))(torch.tensor([[0, 5, 6, 2]]), classification_head_name=HEAD)
    assert logits.shape == (1, 2)


def test_restoring_the_converted_model_is_finetuning_from_it(train_classifier, pretrained, finetuned, tmp_path):
    resets = "--reset-optimizer --reset-dataloader --reset-meters --reset-lr-scheduler".split()
    start = ["--restore-file", pretrained / "model.pt", *resets]
    restored = train_classifier(tmp_path, "sentence_prediction", *ROBERTA.split(), *start)
    assert_same_weights(*(load_model(str(path)).state_dict() for path in (restored, finetuned)))


def test_a_bilstm_learns_from_the_finetuned_model(train_classifier, finetuned, accuracy, tmp_path):
    options = "--arch bilstm_classifier --lr 0.01 --max-epoch 6 --distillation-weight 1 --teacher"
    student = train_classifier(tmp_path, "sentence_prediction_with_distillation", *options.split(), finetuned)
    assert accuracy(student) > 90


def test_the_example_of_neuron_pruning(bert, sentences, tmp_path):
    pytest.importorskip("tokenizers")
    pytest.importorskip("sklearn")
    repository = Path(__file__).parents[2]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "OMP_NUM_THREADS": "1", "EPOCHS": "3", "ENCODER": SIZES}

    def script(name, *arguments):
        command = ["bash", f"examples/neuron_pruning/{name}.sh", *map(str, arguments)]
        return subprocess.run(
            command, cwd=repository, env=environment, capture_output=True, text=True, timeout=300, check=True
        ).stdout

    data, out = tmp_path / "data", tmp_path / "out"
    script("prepare", bert, sentences, data)
    # The shortest sentences come first, with their classes.
    texts, labels = ((data / "text" / f"train.{kind}").read_text().splitlines() for kind in ("text", "label"))
    assert sorted(map(len, map(str.split, texts))) == list(map(len, map(str.split, texts)))
    assert all(label == ("place" if text.split()[-1] in PLACES else "food") for text, label in zip(texts, labels))

    options = ("--cpu", "--max-positions", POSITIONS, "--lr", 0.01)
    first = script("train", data, out, *options)
    scores = json.loads((out / "test.json").read_text())
    assert scores["accuracy"] > 0.9 and scores["macro_f1"] > 0.9 and scores["sentences"] == 40
    assert len((out / "valid.jsonl").read_text().splitlines()) == 3
    assert script("train", data, out, *options) == first
    assert sorted(path.name for path in out.iterdir()) == ["model.pt", "test.json", "train.log", "valid.jsonl"]
