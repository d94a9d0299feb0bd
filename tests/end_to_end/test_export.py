"""Exported folders against fairseq's commands, over the commands that docs/guides/small_transformer.md prints."""

import json
import shutil

import pytest
from checks import perplexity
from fairseq.data import Dictionary
from fairseq.data.data_utils import load_indexed_dataset

pytest.importorskip("onnxruntime", reason="the official fairseq's Python has none")


def lines_of(data, name):
    """The test set's sentences of a dictionary dict.NAME.txt, or of dict.txt."""
    dictionary = Dictionary.load(str(data / f"dict{name}.txt"))
    split = next(data.glob(f"test*{name}.bin")).with_suffix("")
    return [dictionary.string(tokens) for tokens in load_indexed_dataset(str(split), dictionary)]


@pytest.fixture(scope="module")
def exported(train, model, run, tmp_path_factory):
    """Prune a trained model, compress, export: the folder, and the compressed checkpoint beside it."""
    out = tmp_path_factory.mktemp("chain")
    train(
        out / "masked", "--share-all-embeddings", "--criterion", "cross_entropy_with_pruning", "--max-update", 40,
        "--pruning-target", 0.5, "--pruning-end", 20, "--finetune-from-model", model / "checkpoint_last.pt",
    )  # fmt: skip
    run("fairseq-lite", "shrink", out / "masked" / "checkpoint_last.pt", out / "shrunk.pt")
    run("fairseq-lite", "compress", out / "shrunk.pt", out / "small.pt", "--bits", 8)
    run("fairseq-lite", "export", out / "small.pt", out / "exported")
    return out / "exported"


def test_a_pruned_and_compressed_model_translates_as_under_fairseq_generate(exported, run, generate, corpus):
    log = generate(exported.parent / "small.pt").stdout
    expected = {int(line[2:].split("\t")[0]): line.split("\t")[2] for line in log.splitlines() if line.startswith("D-")}
    sources = lines_of(corpus, ".de")
    out = run("fairseq-lite-translate", exported, "--beam", 4, stdin="\n".join(sources) + "\n").stdout
    found = [line.replace("@@ ", "") for line in out.splitlines()]
    assert found == [expected[i] for i in range(len(sources))]


def test_a_shortlist_is_learnt_from_the_training_text(exported, run, corpus):
    """Each word of the toy corpus has one translation, so that a few words a source word lose nothing."""
    small, out = exported.parent / "small.pt", exported.parent / "listed"
    run("fairseq-lite", "export", small, out, "--shortlist", 4)
    text = "\n".join(lines_of(corpus, ".de")) + "\n"
    found = [run("fairseq-lite-translate", folder, stdin=text).stdout for folder in (out, exported)]
    assert found[0] == found[1]
    assert json.loads((out / "config.json").read_text())["shortlist"] == 4


def test_a_shortlist_of_damaged_data_is_refused(exported, run, corpus, tmp_path):
    shutil.copytree(corpus, tmp_path / "data")
    (tmp_path / "data" / "train.de-en.en.idx").write_bytes(b"damaged")
    options = ["--data", tmp_path / "data", "--shortlist", 4]
    refused = run("fairseq-lite", "export", exported.parent / "small.pt", tmp_path / "out", *options, succeeds=False)
    assert refused.returncode == 2 and "train.de-en" in refused.stderr.splitlines()[-1]
    assert not (tmp_path / "out").exists()


def test_perplexity_is_that_of_fairseq_eval_lm(language_model, run, text_corpus, plugin, tmp_path):
    evaluated = run(
        "fairseq-eval-lm", text_corpus, "--user-dir", plugin, "--path", language_model, "--cpu",
        "--sample-break-mode", "eos", "--tokens-per-sample", 64,
    )  # fmt: skip
    run("fairseq-lite", "export", language_model, tmp_path / "out", "--step")
    from fairseq_lite_runtime import Stepper

    found = Stepper(tmp_path / "out").perplexity(lines_of(text_corpus, ""))
    assert found == pytest.approx(perplexity(evaluated), abs=0.01)
