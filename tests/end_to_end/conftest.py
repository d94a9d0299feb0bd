"""Toy corpora and models for the tests that run fairseq's commands as processes."""

import random
import shutil
from pathlib import Path

import pytest
import torch
from made_once import made_once
from processes import command_line, run_script, tail
from toy_texts import TEST_SENTENCES, counting_sentence, sentence_pair

from fairseq_lite.hooks.repairs import allow_fairseq_checkpoints

# Without a buffer, for the thread that fills it can abort a process of fairseq's that ends within an epoch.
TRAIN_OPTIONS = (
    "--cpu --optimizer adam --adam-betas (0.9,0.98) --lr 0.005 --lr-scheduler fixed --clip-norm 1"
    " --max-tokens 1000 --num-workers 0 --data-buffer-size 0 --no-progress-bar --no-epoch-checkpoints"
    " --disable-validation --seed 1"
).split()
TRANSLATION_OPTIONS = "--task translation --source-lang de --target-lang en".split()


@pytest.fixture(scope="session")
def plugin():
    """The plugin by its path in the checkout; its bare name is the installed copy."""
    return str(Path(__file__).parents[2] / "fairseq_lite")


@pytest.fixture(scope="session")
def run(tmp_path_factory):
    """Runs a console script away from the checkout; returns the finished process."""
    directory = tmp_path_factory.mktemp("cwd")

    def run(command, *arguments, stdin="", succeeds=True, **environment):
        process = run_script(command_line(command), arguments, directory, stdin, environment=environment)
        if succeeds:
            assert process.returncode == 0, f"{command} failed:\n{tail(process.stderr)}"
        return process

    return run


@pytest.fixture(scope="session")
def load():
    """Reads a checkpoint."""
    allow_fairseq_checkpoints()
    return lambda path: torch.load(path, map_location="cpu")


@pytest.fixture(scope="session")
def corpus(run, tmp_path_factory):
    """A translation corpus binarised with a joined dictionary."""
    raw = tmp_path_factory.mktemp("raw")

    def binarise(folder):
        rng = random.Random(1)
        for split, size in (("train", 1000), ("valid", 50), ("test", TEST_SENTENCES)):
            sources, targets = zip(*(sentence_pair(rng) for _ in range(size)))
            (raw / f"{split}.de").write_text("\n".join(sources) + "\n")
            (raw / f"{split}.en").write_text("\n".join(targets) + "\n")
        run(
            "fairseq-preprocess", "--joined-dictionary", "--source-lang", "de", "--target-lang", "en",
            *(f"--{split}pref={raw / split}" for split in ("train", "valid", "test")),
            "--destdir", folder,
        )  # fmt: skip

    return made_once(tmp_path_factory, "corpus", binarise)


@pytest.fixture(scope="session")
def corpus_of_two_dictionaries(corpus, tmp_path_factory):
    """The same corpus with the target's words in another order."""
    copy = tmp_path_factory.mktemp("two") / "corpus"
    shutil.copytree(corpus, copy)
    lines = (copy / "dict.en.txt").read_text().splitlines()
    (copy / "dict.en.txt").write_text("\n".join(reversed(lines)) + "\n")
    return copy


@pytest.fixture(scope="session")
def text_corpus(run, tmp_path_factory):
    """A binarised corpus for language modelling."""
    raw = tmp_path_factory.mktemp("raw")

    def binarise(folder):
        rng = random.Random(2)
        for split, size in (("train", 500), ("valid", 50), ("test", 50)):
            sentences = [counting_sentence(rng) for _ in range(size)]
            (raw / f"{split}.txt").write_text("\n".join(sentences) + "\n")
        run(
            "fairseq-preprocess", "--only-source",
            *(f"--{split}pref={raw / split}.txt" for split in ("train", "valid", "test")),
            "--destdir", folder,
        )  # fmt: skip

    return made_once(tmp_path_factory, "text", binarise)


@pytest.fixture(scope="session")
def train(run, corpus, plugin):
    """Trains a translation model into a folder; options override the defaults."""

    def train(save_dir, *options, user_dir=plugin, data=corpus, **settings):
        return run(
            "fairseq-train", data, "--user-dir", user_dir, *TRANSLATION_OPTIONS,
            "--arch", "lite_transformer_tiny", *TRAIN_OPTIONS, "--save-dir", save_dir, *options,
            **settings,
        )  # fmt: skip

    return train


@pytest.fixture(scope="session")
def generate(run, corpus, plugin):
    """Translates and scores the test set with a checkpoint; returns the finished process."""

    def generate(checkpoint, *options, user_dir=plugin, **settings):
        return run(
            "fairseq-generate", corpus, "--user-dir", user_dir, "--path", checkpoint, "--cpu", "--beam", 4,
            "--scoring", "sacrebleu", "--remove-bpe", "--max-tokens", 2000, *options, **settings,
        )  # fmt: skip

    return generate


@pytest.fixture(scope="session")
def train_language_model(run, text_corpus, plugin):
    """Trains a language model into a folder; options override the defaults."""

    def train(save_dir, *options, **settings):
        return run(
            "fairseq-train", text_corpus, "--user-dir", plugin, "--task", "language_modeling",
            "--arch", "lite_transformer_lm_tiny", *TRAIN_OPTIONS, "--save-dir", save_dir,
            "--tokens-per-sample", 64, "--sample-break-mode", "eos", *options,
            **settings,
        )  # fmt: skip

    return train


@pytest.fixture(scope="session")
def model(train, tmp_path_factory):
    """A folder with a trained translation model: updates 380 and 400 and checkpoint_last.pt."""
    options = ("--max-update", 400, "--save-interval-updates", 380, "--share-all-embeddings")
    return made_once(tmp_path_factory, "model", lambda folder: train(folder, *options))


@pytest.fixture(scope="session")
def transformer(train, tmp_path_factory):
    """The checkpoint of a stock Transformer."""
    options = ("--arch", "transformer_tiny", "--max-update", 300, "--share-all-embeddings")
    return made_once(tmp_path_factory, "transformer", lambda folder: train(folder, *options)) / "checkpoint_last.pt"


@pytest.fixture(scope="session")
def language_model(train_language_model, tmp_path_factory):
    """The checkpoint of a Lite Transformer that has learnt to count."""
    options = ("--max-update", 100, "--share-decoder-input-output-embed")
    folder = made_once(tmp_path_factory, "language_model", lambda folder: train_language_model(folder, *options))
    return folder / "checkpoint_last.pt"
