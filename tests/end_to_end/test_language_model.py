"""A language model's life under fairseq's commands."""

import pytest
from checks import perplexity


@pytest.fixture(scope="module")
def evaluate(run, text_corpus):
    def evaluate(checkpoint, *options):
        return perplexity(
            run(
                "fairseq-eval-lm",
                text_corpus,
                "--user-dir",
                "fairseq_lite",
                "--cpu",
                "--path",
                checkpoint,
                "--max-tokens",
                2000,
                "--sample-break-mode",
                "eos",
                *options,
            )  # fmt: skip
        )

    return evaluate


def test_eval_lm_has_learnt_to_count(evaluate, language_model):
    assert evaluate(language_model) < 3


def test_eval_lm_takes_a_context_window(evaluate, language_model):
    options = "--sample-break-mode none --tokens-per-sample 32 --context-window 16 --max-sentences 1"
    assert evaluate(language_model, *options.split()) < 5


def test_adaptive_input_and_softmax(train_language_model, evaluate, tmp_path):
    train_language_model(
        tmp_path, "--max-update", 100, "--criterion", "adaptive_loss", "--ddp-backend", "legacy_ddp",
        "--adaptive-input", "--adaptive-input-cutoff", "8", "--adaptive-softmax-cutoff", "8",
        "--tie-adaptive-weights",
    )  # fmt: skip
    assert evaluate(tmp_path / "checkpoint_last.pt") < 3
