"""Variants of the authors' formats, made from golden files and models of known output."""

import random
import sys
import types
from argparse import Namespace
from pathlib import Path

import pytest
import torch
from fairseq import options

from fairseq_lite.building import build_architecture
from fairseq_lite.checkpoints import load_model, model_of, write_checkpoint
from fairseq_lite.cli import main
from fairseq_lite.converters import convert_lite_transformer, convert_t2r

GOLDEN = Path(__file__).parents[1] / "golden"
CLOSE = dict(rtol=0, atol=1e-4)
LIGHT = "lite_transformer_iwslt_light"


def saved(checkpoint, tmp_path):
    path = str(tmp_path / "published.pt")
    torch.save(checkpoint, path)
    return path


@torch.no_grad()
def assert_golden_logits(model, name):
    io = torch.load(GOLDEN / f"{name}.io.pt")
    encoder_out = model.encoder(io["src_tokens"], io["src_lengths"])
    torch.testing.assert_close(model.decoder(io["prev_output_tokens"], encoder_out)[0], io["logits"], **CLOSE)


def without_middle_dimension(checkpoint):
    for name, tensor in checkpoint["model"].items():
        if name.endswith("branches.1.weight"):
            checkpoint["model"][name] = tensor.squeeze(1)


def gated_by_default(checkpoint):
    checkpoint["args"].encoder_glu = checkpoint["args"].decoder_glu = True


@pytest.mark.parametrize("change", [without_middle_dimension, gated_by_default])
def test_lightweight_kernels_as_other_machines_and_defaults_leave_them(change, tmp_path):
    checkpoint = torch.load(GOLDEN / f"{LIGHT}.pt")
    change(checkpoint)
    assert_golden_logits(model_of(convert_lite_transformer(saved(checkpoint, tmp_path)), ""), LIGHT)


def test_a_function_among_the_options(tmp_path, monkeypatch):
    module = types.ModuleType("fairseq.models.transformer_multibranch_v2")
    module.ratio_xavier_uniform_ = type("ratio_xavier_uniform_", (), {"__module__": module.__name__})
    checkpoint = torch.load(GOLDEN / f"{LIGHT}.pt")
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, module.__name__, module)
        checkpoint["args"].ffn_init = module.ratio_xavier_uniform_
        path = saved(checkpoint, tmp_path)
    assert_golden_logits(model_of(convert_lite_transformer(path), ""), LIGHT)


SIZES = ["--encoder-layers=2", "--encoder-embed-dim=16", "--decoder-layers=2", "--encoder-attention-heads=2"]
SIZES += ["--decoder-attention-heads=2"]
LM_SIZES = ["--decoder-layers=2", "--decoder-embed-dim=16", "--decoder-attention-heads=2"]
# Each an architecture of known output, its options, and what the authors' options say of it beside the sizes.
FIXED_KERNEL = dict(
    encoder_branch_type=["attn:1:8:2", "lightweight:5:8:4"],
    decoder_branch_type=["attn:1:8:2", "lightweight:5:8:4"],
    encoder_kernel_size_list=[3, 7],
    decoder_kernel_size_list=[3, 7],
    encoder_glu=True,
    decoder_glu=True,
)
NO_BRANCHES = dict(encoder_branch_type=None, decoder_branch_type=None)
MODELS = {
    "kernel_in_branch": (
        "lite_transformer",
        [*SIZES, "--encoder-kernel-sizes=5,5", "--decoder-kernel-sizes=5,5"],
        FIXED_KERNEL,
    ),
    "no_branches": ("transformer", [*SIZES, "--encoder-ffn-embed-dim=16", "--decoder-ffn-embed-dim=16"], NO_BRANCHES),
    "kernel_in_branch_lm": ("lite_transformer_lm", [*LM_SIZES, "--decoder-kernel-sizes=5,5"], FIXED_KERNEL),
    "no_branches_lm": ("transformer_lm", [*LM_SIZES, "--decoder-ffn-embed-dim=16"], NO_BRANCHES),
}
THEIR_NAMES = ((".self_attn.attention.", ".self_attn.branches.0."), (".self_attn.conv.", ".self_attn.branches.1."))


def in_the_authors_format(model, name, arch_options, theirs):
    task = "language_modeling" if name.endswith("lm") else "translation"
    parser = options.get_training_parser(task)
    ours = vars(options.parse_args_and_arch(parser, ["-", "--task", task, "--arch", name, *arch_options]))
    args = {key: ours[key] for key in ours if ("encoder" in key or "decoder" in key) and "conv" not in key}
    state = {}
    for key, tensor in model.state_dict().items():
        for our_name, their_name in THEIR_NAMES:
            key = key.replace(our_name, their_name)
        state[key.replace("decoder.output_projection.weight", "decoder.embed_out")] = tensor
    args = {key: value for key, value in args.items() if value is not None or not key.startswith("encoder_embed_dim")}
    return {"args": Namespace(arch="transformer_multibranch_v2", **{**args, **theirs}), "model": state}


@pytest.mark.parametrize("case", MODELS)
@torch.no_grad()
def test_models_of_known_output(case, tmp_path):
    arch, arch_options, theirs = MODELS[case]
    known = build_architecture(arch, arch_options, 40).eval()
    checkpoint = in_the_authors_format(known, arch, arch_options, theirs)
    converted = model_of(convert_lite_transformer(saved(checkpoint, tmp_path)), "")
    tokens = torch.randint(4, 40, (2, 9))
    inputs = (tokens,) if arch.endswith("lm") else (tokens, torch.full((2,), 9), tokens)
    torch.testing.assert_close(converted(*inputs)[0], known(*inputs)[0], **CLOSE)


def scales(checkpoint):
    """The names of both tau in every layer, with the feature map that each of them divides."""
    for attention, feature_map in (("self_attn", "fc3"), ("encoder_attn", "fc4")):
        for layer in range(checkpoint["args"].decoder_layers):
            prefix = f"decoder.layers.{layer}."
            yield f"{prefix}{attention}.", f"{prefix}{feature_map}.weight"


def hot(checkpoint):
    for attention, feature_map in scales(checkpoint):
        checkpoint["model"][attention + "tau"] = torch.tensor([2.0])
        checkpoint["model"][feature_map] *= 2


def learned_temperature(checkpoint):
    heads = checkpoint["args"].decoder_attention_heads
    checkpoint["args"].learned_tau = True
    for attention, feature_map in scales(checkpoint):
        tau = torch.rand(heads, 1, 1) + 0.5
        checkpoint["model"][attention + "tau"] = tau
        weight = checkpoint["model"][feature_map]
        checkpoint["model"][feature_map] = (weight.unflatten(0, (heads, -1)) * tau).flatten(0, 1)


def reparametrised(checkpoint):
    heads = checkpoint["args"].decoder_attention_heads
    checkpoint["args"].reparam_proj = checkpoint["args"].norm_rescale = True
    for attention, feature_map in scales(checkpoint):
        weight = checkpoint["model"][feature_map]
        sigma = torch.rand(heads, 1, weight.size(1)) + 0.5
        checkpoint["model"][attention + "sigma"] = sigma
        checkpoint["model"][feature_map] = (weight.unflatten(0, (heads, -1)) / sigma).flatten(0, 1)


def layers_left_out(checkpoint):
    layers = checkpoint["args"].decoder_layers
    checkpoint["args"].decoder_layers_to_keep = ",".join(str(2 * layer) for layer in range(layers))


@pytest.mark.parametrize("change", [hot, learned_temperature, reparametrised, layers_left_out])
def test_variants_of_t2r(change, tmp_path):
    torch.manual_seed(1)
    checkpoint = torch.load(GOLDEN / "t2r_mt.pt")
    change(checkpoint)
    path = str(tmp_path / "converted.pt")
    write_checkpoint(convert_t2r(saved(checkpoint, tmp_path)), path)
    assert_golden_logits(load_model(path), "t2r_mt")


def test_layers_to_keep_of_a_whole_checkpoint(tmp_path):
    checkpoint = torch.load(GOLDEN / "t2r_mt.pt")
    last = checkpoint["args"].decoder_layers - 1
    checkpoint["args"].decoder_layers_to_keep = str(last)
    model = model_of(convert_t2r(saved(checkpoint, tmp_path)), "")
    (layer,) = model.decoder.layers
    assert torch.equal(layer.fc1.weight, checkpoint["model"][f"decoder.layers.{last}.fc1.weight"])


WRONG = [None, "many", -1, 0, [], {}, float("nan"), "attn:1", [1, "x"], 999]
READ = {
    LIGHT: "encoder_branch_type decoder_kernel_size_list encoder_embed_dim decoder_layers dropout weight_softmax"
    " encoder_ffn_list decoder_glu encoder_attention_heads decoder_normalize_before".split(),
    "t2r_lm": "causal_proj_dim decoder_attention_heads decoder_embed_dim adaptive_input_cutoff decoder_layers"
    " decoder_layers_to_keep attn_act adaptive_softmax_cutoff dropout tokens_per_sample".split(),
}


def damaged(rng, format, name):
    """A golden checkpoint with an option of another kind, an option or a weight left out, or a part that is missing."""
    checkpoint = torch.load(GOLDEN / f"{name}.pt")
    option = rng.choice(READ[name])
    kind = rng.choice(["wrong", "wrong", "wrong", "missing", "no weights", "no mapping", "a list"])
    if kind == "wrong":
        setattr(checkpoint["args"], option, rng.choice(WRONG))
    elif kind == "missing":
        delattr(checkpoint["args"], option)
    elif kind == "no mapping":
        checkpoint["args"] = vars(checkpoint["args"])
    else:
        checkpoint["model"] = {} if kind == "no weights" else [1]
    return checkpoint


@pytest.mark.parametrize("format, name", [("lite-transformer", LIGHT), ("t2r", "t2r_lm")])
def test_mistyped_checkpoints_convert_or_are_refused_in_one_line(format, name, tmp_path, capsys):
    rng = random.Random(7)
    for _ in range(20):
        checkpoint = damaged(rng, format, name)
        output = tmp_path / "out.pt"
        status = main(["convert", format, saved(checkpoint, tmp_path), str(output)])
        lines = capsys.readouterr().err.splitlines()
        if status:
            assert status == 2 and len(lines) == 1 and "published.pt" in lines[0], lines
        else:
            load_model(str(output))
            output.unlink()
