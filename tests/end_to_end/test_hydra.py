"""fairseq-hydra-train, with the options in a configuration file."""

import pytest
from checks import assert_one_line

CONFIGURATION = """
# @package _group_
common: {cpu: true, no_progress_bar: true}
task: {_name: "???", data: "???"}
dataset: {max_tokens: 1000, num_workers: 0, disable_validation: true}
optimization: {max_update: 3, lr: [0.005]}
optimizer: {_name: adam}
lr_scheduler: {_name: fixed}
criterion: {_name: cross_entropy}
checkpoint: {no_epoch_checkpoints: true}
model: {_name: "???"}
"""


@pytest.fixture
def hydra_train(run, plugin, load, tmp_path):
    """Trains for three updates and returns the checkpoint, or the process where it fails."""
    (tmp_path / "toy.yaml").write_text(CONFIGURATION)

    def train(*overrides, succeeds=True):
        process = run(
            "fairseq-hydra-train", "--config-dir", tmp_path, "--config-name", "toy",
            f"common.user_dir={plugin}", f"checkpoint.save_dir={tmp_path}", *overrides, succeeds=succeeds,
        )  # fmt: skip
        return load(tmp_path / "checkpoint_last.pt") if succeeds else process

    return train


def test_language_model(hydra_train, text_corpus):
    state = hydra_train(
        "task._name=language_modeling", f"task.data={text_corpus}", "+task.tokens_per_sample=64",
        "model._name=lite_transformer_lm", "+model.decoder_embed_dim=32", "+model.decoder_layers=2",
        "+model.decoder_attention_heads=2", "+model.decoder_kernel_sizes='3,5'",
    )  # fmt: skip
    assert state["cfg"]["model"]["decoder_kernel_sizes"] == "3,5"


@pytest.mark.parametrize(
    "task, name, option, value",
    [
        ("translation", "lite_transformer_tiny", "encoder_conv_type", "dynamic"),
        ("translation", "evolved_transformer_tiny", "encoder_attention_heads", 4),
        ("finetune_translation", "t2r_transformer_tiny", "feature_map", "elu"),
    ],
)
def test_encoder_decoder(hydra_train, corpus, task, name, option, value):
    state = hydra_train(
        f"task._name={task}", f"task.data={corpus}", "+task.source_lang=de", "+task.target_lang=en",
        f"model._name={name}", f"+model.{option}={value}",
    )  # fmt: skip
    assert state["cfg"]["model"][option] == value


def test_mistake(hydra_train, corpus, tmp_path):
    process = hydra_train(
        "task._name=translation", f"task.data={corpus}", "+task.source_lang=de", "+task.target_lang=en",
        "model._name=lite_transformer_tiny", "+model.encoder_kernel_sizes='3'", succeeds=False,
    )  # fmt: skip
    assert_one_line(process, "--encoder-kernel-sizes 3")
    assert not list(tmp_path.glob("*.pt"))
