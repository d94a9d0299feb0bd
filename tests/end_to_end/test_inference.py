"""Linear layers that are packed or in int8, under fairseq's commands."""

import pytest
from checks import assert_one_line, bleu, perplexity


def test_generates(generate, transformer):
    options = ([], ["--packed-inference"], ["--int8-inference"])
    plain, packed, int8 = (bleu(generate(transformer, *given).stdout) for given in options)
    assert packed == pytest.approx(plain, abs=0.5)
    assert int8 > plain - 10


def test_both_at_once_are_refused(generate, transformer):
    process = generate(transformer, "--packed-inference", "--int8-inference", succeeds=False)
    assert_one_line(process, "--int8-inference: not allowed with argument --packed-inference")


def test_language_model_in_int8(run, train_language_model, text_corpus, plugin, tmp_path):
    train_language_model(tmp_path, "--max-update", 100)
    evaluated = run(
        "fairseq-eval-lm", text_corpus, "--user-dir", plugin, "--cpu", "--max-tokens", 2000,
        "--path", tmp_path / "checkpoint_last.pt", "--sample-break-mode", "eos", "--int8-inference",
    )  # fmt: skip
    assert perplexity(evaluated) < 3
