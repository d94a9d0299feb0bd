"""Exported folders against fairseq's commands, over the commands that docs/guides/small_transformer.md prints."""

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


def test_perplexity_is_that_of_fairseq_eval_lm(language_model, run, text_corpus, plugin, tmp_path):
    evaluated = run(
        "fairseq-eval-lm", text_corpus, "--user-dir", plugin, "--path", language_model, "--cpu",
        "--sample-break-mode", "eos", "--tokens-per-sample", 64,
    )  # fmt: skip
    run("fairseq-lite", "export", language_model, tmp_path / "out", "--step")
    from fairseq_lite_runtime import Stepper

    found = Stepper(tmp_path / "out").perplexity(lines_of(text_corpus, ""))
    assert found == pytest.approx(perplexity(evaluated), abs=0.01)
