"""The sizes of a finetuning come from the checkpoint that it starts from."""

import logging

import pytest
import torch
from composed import composed
from fairseq import options
from fairseq.models import build_model
from omegaconf import OmegaConf

from fairseq_lite.building import _model_config, task_of_sizes
from fairseq_lite.checkpoints import read_checkpoint, write_checkpoint
from fairseq_lite.cli import main
from fairseq_lite.errors import UserError
from fairseq_lite.tasks.inherited_options import take_options_unless_given
from fairseq_lite.tasks.pretrained import start_from

VOCABULARY = 40
NARROW = (
    "--encoder-layers 1 --decoder-layers 2 --encoder-embed-dim 16 --decoder-embed-dim 16 --encoder-ffn-embed-dim 24"
    " --decoder-ffn-embed-dim 24 --encoder-attention-heads 2 --decoder-attention-heads 2"
)
NARROW_LM = (
    "--decoder-layers 2 --decoder-embed-dim 16 --decoder-ffn-embed-dim 24 --decoder-attention-heads 2"
    " --decoder-input-dim 16 --decoder-output-dim 16"
)


def parsed(task, arch, text):
    parser = options.get_training_parser(task)
    return options.parse_args_and_arch(parser, ["-", "--task", task, "--arch", arch, *text.split()])


def built(args):
    return build_model(_model_config(args), task_of_sizes(VOCABULARY, VOCABULARY))


def trained(path, arch, text):
    """A checkpoint of a model with these options; returns its path."""
    args = parsed("language_modeling" if "_lm" in arch else "translation", arch, text)
    cfg = composed(args)
    model = build_model(cfg.model, task_of_sizes(VOCABULARY, VOCABULARY))
    history = [{"criterion_name": "", "optimizer_name": "", "lr_scheduler_state": {}, "num_updates": 0}]
    extra = {"train_iterator": {"epoch": 1, "iterations_in_epoch": 0}}
    checkpoint = {"cfg": cfg, "model": model.state_dict(), "optimizer_history": history, "extra_state": extra}
    write_checkpoint({**checkpoint, "args": None, "task_state": {}}, str(path))
    return str(path)


def finetuned(path, arch, text=""):
    """The model that a finetuning from a checkpoint starts with, and the options that it has."""
    task = "finetune_language_modeling" if "_lm" in arch else "finetune_translation"
    args = parsed(task, arch, f"--pretrained {path} {text}")
    model = built(args)
    start_from(model, path)
    return model, args


# From an architecture with options to an architecture with the options that are left to give.
CASES = {
    "tied": ("transformer", f"{NARROW} --share-all-embeddings", "t2r_transformer", ""),
    "pre-norm": (
        "transformer",
        f"{NARROW} --encoder-normalize-before --decoder-normalize-before --layernorm-embedding --decoder-learned-pos",
        "t2r_transformer_iwslt_de_en",
        "",
    ),
    "input dimension": (
        "transformer_lm",
        f"{NARROW_LM} --decoder-input-dim 8 --decoder-output-dim 8",
        "t2r_transformer_lm",
        "--feature-map elu",
    ),
    "language model": ("transformer_lm", NARROW_LM, "t2r_transformer_lm", "--causal-feature-dim 6"),
    "adaptive": (
        "transformer_lm",
        f"{NARROW_LM} --adaptive-input --adaptive-input-cutoff 12,20 --adaptive-softmax-cutoff 12,20"
        " --tie-adaptive-weights --decoder-normalize-before",
        "t2r_transformer_lm",
        "",
    ),
    "lite": (
        "lite_transformer_tiny",
        "--encoder-embed-dim 16 --encoder-kernel-sizes 3,5 --decoder-conv-type dynamic --decoder-conv-glu",
        "lite_transformer",
        "--decoder-feature-map t2r --linear-attention causal,cross",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_what_is_not_given_is_the_checkpoints(case, tmp_path, caplog):
    old_arch, old_options, arch, given = CASES[case]
    path = trained(tmp_path / "softmax.pt", old_arch, old_options)
    with caplog.at_level(logging.INFO):
        model, _ = finetuned(path, arch, given)
    state = read_checkpoint(path)["model"]
    assert all(torch.equal(tensor, state[name]) for name, tensor in model.state_dict().items() if name in state)
    assert len([record for record in caplog.records if "options taken from it" in record.getMessage()]) == 1


def test_a_tied_model_stays_tied(tmp_path):
    model, args = finetuned(trained(tmp_path / "a.pt", *CASES["tied"][:2]), "t2r_transformer")
    assert model.encoder.embed_tokens.weight is model.decoder.output_projection.weight
    assert args.share_all_embeddings and args.encoder_ffn_embed_dim == 24


def test_the_log_says_what_was_taken(tmp_path, caplog):
    path = trained(tmp_path / "a.pt", "transformer_tiny", "--decoder-layers 3")
    with caplog.at_level(logging.INFO):
        finetuned(path, "t2r_transformer_tiny")
    assert f"--pretrained {path}: options taken from it: --decoder-layers 3" in caplog.text


def test_a_shrunk_model_needs_no_options(tmp_path):
    path, shrunk = trained(tmp_path / "a.pt", "transformer", NARROW), str(tmp_path / "shrunk.pt")
    checkpoint = read_checkpoint(path)
    for name, tensor in checkpoint["model"].items():
        if ".fc1." in name:
            tensor[:5] = 0
    write_checkpoint(checkpoint, path)
    assert main(["shrink", path, shrunk]) == 0
    model, _ = finetuned(shrunk, "pruned_transformer")
    assert model.encoder.layers[0].fc1.out_features == 19


def test_options_of_training_are_the_users(tmp_path):
    path = trained(tmp_path / "a.pt", "transformer", f"{NARROW} --dropout 0.3 --decoder-layers 2")
    _, args = finetuned(path, "t2r_transformer", "--dropout 0.2 --attention-dropout 0.1 --decoder-layers 2")
    assert (args.dropout, args.attention_dropout) == (0.2, 0.1)


@pytest.mark.parametrize(
    "given, message",
    [
        ("--decoder-layers 3", "leave out --decoder-layers 3, where it has 2"),
        ("--share-all-embeddings", "leave out --share-all-embeddings True, where it has False"),
        ("--activation-fn gelu --encoder-layers 2", "--activation-fn gelu, where it has relu; --encoder-layers 2"),
    ],
)
def test_an_option_that_differs_is_refused(given, message, tmp_path):
    path = trained(tmp_path / "a.pt", "transformer", NARROW)
    with pytest.raises(UserError, match=message) as error:
        finetuned(path, "t2r_transformer", given)
    assert "\n" not in str(error.value)


def test_an_empty_path_is_refused():
    task = ["-", "--task", "finetune_translation", "--arch", "t2r_transformer_tiny", "--pretrained", ""]
    with pytest.raises(UserError, match="--pretrained: the path is empty"):
        options.parse_args_and_arch(options.get_training_parser("finetune_translation"), task)


def test_weights_that_are_not_finite_are_refused_by_name(tmp_path):
    path = trained(tmp_path / "a.pt", "transformer", NARROW)
    checkpoint = read_checkpoint(path)
    checkpoint["model"]["decoder.layers.1.fc2.bias"][3] = float("nan")
    write_checkpoint(checkpoint, path)
    with pytest.raises(UserError, match="decoder.layers.1.fc2.bias"):
        finetuned(path, "t2r_transformer")


def test_without_a_command_line_what_is_left_at_its_default_is_taken(tmp_path):
    path = trained(tmp_path / "a.pt", "transformer_lm", NARROW_LM)
    cfg = composed(parsed("language_modeling", "t2r_transformer_lm", "")).model
    OmegaConf.set_struct(cfg, True)
    take_options_unless_given(cfg, path)
    assert (cfg.decoder_layers, cfg.decoder_input_dim, cfg.causal_feature_dim) == (2, 16, 32)
    cfg.decoder_layers = 4
    with pytest.raises(UserError, match="--decoder-layers 4, where it has 2"):
        take_options_unless_given(cfg, path)


def test_linear_attention_that_becomes_softmax_again_leaves_its_map(tmp_path, caplog):
    path = trained(tmp_path / "linear.pt", "t2r_transformer", NARROW)
    with caplog.at_level(logging.INFO):
        model, _ = finetuned(path, "t2r_transformer", "--softmax-sublayers cross.1,causal.0")
    state = read_checkpoint(path)["model"]
    assert all(torch.equal(tensor, state[name]) for name, tensor in model.state_dict().items())
    (line,) = [record.getMessage() for record in caplog.records if "left over" in record.getMessage()]
    assert "decoder.layers.1.encoder_attn.feature_map.weight" in line and "layers.0.encoder_attn" not in line


def test_a_map_of_another_kind_is_no_start(tmp_path):
    path = trained(tmp_path / "linear.pt", "t2r_transformer", NARROW)
    with pytest.raises(UserError, match="feature_map.weight is left over"):
        finetuned(path, "t2r_transformer", "--feature-map exp --softmax-sublayers cross")
