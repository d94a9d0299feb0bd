"""Models that keep some layers of a larger one train, write, load and count as what they are."""

from types import SimpleNamespace

import pytest
import torch
from composed import composed
from fairseq import options
from fairseq.models import build_model

from fairseq_lite.building import task_of_sizes
from fairseq_lite.checkpoints import load_model, write_checkpoint
from fairseq_lite.errors import UserError

KEPT = {"encoder": [0], "decoder": [1]}
ARCHITECTURES = ["lite_transformer_tiny", "t2r_transformer_tiny", "lite_transformer_lm_tiny", "t2r_transformer_lm_tiny"]


def sides(arch):
    return ["decoder"] if "_lm" in arch else ["encoder", "decoder"]


def built(arch, *given):
    """The model that fairseq-train builds, and the configuration that it stores."""
    task = "language_modeling" if "_lm" in arch else "translation"
    args = options.parse_args_and_arch(options.get_training_parser(task), ["-", "--task", task, "--arch", arch, *given])
    cfg = composed(args)
    return build_model(cfg.model, task_of_sizes(30, 30)).eval(), cfg


def keeping(arch):
    flags = [f"--{side}-layers-to-keep={','.join(map(str, KEPT[side]))}" for side in sides(arch)]
    return built(arch, *flags)


def saved(model, cfg, path):
    history = [{"criterion_name": "", "optimizer_name": "", "lr_scheduler_state": {}, "num_updates": 0}]
    extra = {"train_iterator": {"epoch": 1, "iterations_in_epoch": 0}}
    checkpoint = {"cfg": cfg, "model": model.state_dict(), "optimizer_history": history, "extra_state": extra}
    write_checkpoint({**checkpoint, "args": None, "task_state": {}}, str(path))
    return str(path)


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_what_is_trained_loads_and_resumes(arch, tmp_path):
    model, cfg = keeping(arch)
    loaded = load_model(saved(model, cfg, tmp_path / "model.pt"))
    resumed, resumed_cfg = keeping(arch)
    resumed.load_state_dict(model.state_dict(), strict=True, model_cfg=resumed_cfg.model)
    for other in (loaded, resumed):
        state = other.state_dict()
        assert all(torch.equal(tensor, state[name]) for name, tensor in model.state_dict().items())


@pytest.mark.parametrize("arch", ARCHITECTURES[:2])
def test_the_options_are_those_of_what_was_built(arch):
    _, cfg = keeping(arch)
    assert (cfg.model.encoder_layers, cfg.model.decoder_layers) == (1, 1)
    assert cfg.model.encoder_layers_to_keep is None
    if arch.startswith("lite"):
        assert (cfg.model.encoder_kernel_sizes, cfg.model.decoder_kernel_sizes) == ("3", "7")


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_a_whole_checkpoint_gives_the_layers_that_are_kept(arch):
    whole, _ = built(arch)
    part, cfg = keeping(arch)
    part.load_state_dict(whole.state_dict(), strict=True, model_cfg=cfg.model)
    for side in sides(arch):
        (number,) = KEPT[side]
        wanted, (layer,) = getattr(whole, side).layers[number], getattr(part, side).layers
        assert torch.equal(wanted.fc1.weight, layer.fc1.weight)


def test_layers_that_keep_softmax_attention_are_renumbered():
    model, cfg = built("t2r_transformer_tiny", "--softmax-layers=1", "--decoder-layers-to-keep=1")
    assert cfg.model.softmax_layers == "0"
    assert not hasattr(model.decoder.layers[0].self_attn, "feature_map")


def test_a_trained_model_needs_no_file_of_embeddings(tmp_path):
    path = tmp_path / "embeddings.txt"
    path.write_text("1 64\nw1 " + " ".join(["0.1"] * 64) + "\n")
    model, cfg = built("lite_transformer_tiny", f"--encoder-embed-path={path}")
    checkpoint = saved(model, cfg, tmp_path / "model.pt")
    path.unlink()
    assert torch.equal(load_model(checkpoint).encoder.embed_tokens.weight, model.encoder.embed_tokens.weight)
    build_model(cfg.model, task_of_sizes(30, 30), from_checkpoint=True)


def test_alignments_need_attention_weights_in_the_last_layer():
    _, cfg = built("t2r_transformer_tiny")
    task = task_of_sizes(30, 30)
    task.cfg = SimpleNamespace(load_alignments=True)
    with pytest.raises(UserError, match="--linear-attention causal,cross.*--softmax-sublayers cross.1"):
        build_model(cfg.model, task)
    cfg.model.linear_attention = "causal"
    build_model(cfg.model, task)


@pytest.mark.parametrize("given", ["2", "-1"])
def test_layers_that_are_not_there(given):
    with pytest.raises(UserError, match=f"--encoder-layers-to-keep .*{given[-1]}.*: the encoder has layers 0 to 1"):
        built("lite_transformer_tiny", f"--encoder-layers-to-keep={given}")
