"""Training for few bits under fairseq's commands."""

import shutil

import pytest
from checks import assert_one_line, assert_same_weights, bleu


@pytest.fixture(scope="module")
def finetune(train, transformer):
    """Finetunes a Transformer for few bits; options override the defaults."""

    def finetune(save_dir, *options, **settings):
        return train(
            save_dir, "--task", "finetune_translation", "--arch", "transformer_tiny", "--share-all-embeddings",
            "--pretrained", transformer, "--lr", 1e-3, *options, **settings,
        )  # fmt: skip

    return finetune


@pytest.mark.parametrize("method", ["kmeans", "linear"])
def test_two_bits_lose_less_after_finetuning(finetune, run, generate, load, transformer, method, tmp_path):
    finetune(
        tmp_path, "--quantize-finetune", 2, "--quantize-method", method, "--max-update", 150,
        "--disable-validation", "--ddp-backend", "legacy_ddp",
    )  # fmt: skip
    before, after = tmp_path / "before.pt", tmp_path / "after.pt"
    for path, small in ((transformer, before), (tmp_path / "checkpoint_last.pt", after)):
        run("fairseq-lite", "compress", path, small, "--bits", 2, "--method", method)
    assert bleu(generate(after).stdout) > bleu(generate(before).stdout) + 10
    if method == "kmeans":
        weight = load(tmp_path / "checkpoint_last.pt")["model"]["encoder.layers.0.fc1.weight"]
        assert len(weight.unique()) <= 4


@pytest.mark.parametrize("method", ["kmeans", "linear"])
def test_resumed_training_equals_an_uninterrupted_one(finetune, load, method, tmp_path):
    uninterrupted, resumed = tmp_path / "uninterrupted", tmp_path / "resumed"
    options = ["--quantize-finetune", 4, "--quantize-method", method, "--max-tokens", 200]
    options += ["--max-update", 12, "--save-interval-updates", 6]
    finetune(uninterrupted, *options)
    resumed.mkdir()
    shutil.copy(uninterrupted / "checkpoint_1_6.pt", resumed / "checkpoint_last.pt")
    finetune(resumed, *options)
    assert_same_weights(*(load(folder / "checkpoint_last.pt")["model"] for folder in (uninterrupted, resumed)))


@pytest.mark.parametrize(
    "options",
    [
        ["--quantize-finetune", 9],
        ["--quantize-finetune", 4, "--quantize-method", "log"],
        ["--quantize-method", "linear"],
    ],
)
def test_mistakes(finetune, tmp_path, options):
    process = finetune(tmp_path / "model", *options, "--max-update", 1, succeeds=False)
    assert_one_line(process, *map(str, options[-2:]))
