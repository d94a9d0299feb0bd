"""fairseq-hydra-train: options from overrides for the language model, from a file for the encoder-decoder."""

import pytest

OVERRIDES = (
    "common.cpu=true common.log_format=none dataset.max_tokens=1000 dataset.num_workers=0"
    " dataset.disable_validation=true optimization.max_update=3 optimization.lr=[0.005]"
    " optimizer=adam lr_scheduler=fixed criterion=cross_entropy checkpoint.no_epoch_checkpoints=true"
).split()

TRANSLATION = """
# @package _global_
defaults:
  - override /task: translation
model:
  _name: lite_transformer_tiny
  encoder_conv_type: dynamic
"""


@pytest.fixture
def hydra_train(run, plugin, tmp_path, load):
    """Trains for three updates and returns the checkpoint."""

    def train(*overrides):
        run(
            "fairseq-hydra-train", *OVERRIDES, f"common.user_dir={plugin}",
            f"checkpoint.save_dir={tmp_path}", *overrides,
        )  # fmt: skip
        return load(tmp_path / "checkpoint_last.pt")

    return train


def test_language_model_is_a_registered_dataclass(hydra_train, text_corpus):
    state = hydra_train(
        "task=language_modeling", f"task.data={text_corpus}", "task.tokens_per_sample=64",
        "model=lite_transformer_lm", "model.decoder_embed_dim=32", "model.decoder_layers=2",
        "model.decoder_attention_heads=2", "model.decoder_kernel_sizes='3,5'",
    )  # fmt: skip
    assert state["cfg"]["model"]["decoder_kernel_sizes"] == "3,5"


def test_encoder_decoder_is_named_in_a_file(hydra_train, corpus, tmp_path):
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "translation.yaml").write_text(TRANSLATION)
    state = hydra_train(
        "--config-dir", tmp_path / "config", "+translation=..."
    )
