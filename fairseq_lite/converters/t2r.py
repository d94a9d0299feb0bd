"""Checkpoints of the T2R authors (fairseq 0.9, `--use-rfa --random-feature mlp`)."""

from __future__ import annotations

import argparse

import torch

from fairseq_lite.checkpoints import Checkpoint
from fairseq_lite.converters.published import (
    PublishedOptions,
    State,
    checkpoint_of,
    read_published,
    refuse_options,
    renamed,
)
from fairseq_lite.models.options import T2R_OPTIONS, T2RLanguageModelConfig, language_model_defaults

# Names in the authors' state dict, and ours.
_KEYS = (
    (r"\.fc3\.", ".self_attn.feature_map."),
    (r"\.fc4\.", ".encoder_attn.feature_map."),
)
# What scales the weights of a feature map, beside it in its attention.
_SCALES = ("sigma", "tau")

# The only values of the authors' options that linear attention here has a form for.
_REQUIRED = {"random_feature": "mlp", "attn_act": "relu", "use_input_gate": False}


def _our_options(args: argparse.Namespace, path: str) -> argparse.Namespace:
    """The authors' options under our names; raises UserError with all that has no counterpart.

    `norm_rescale` is not looked at: the authors' learned feature maps do not either.
    """
    options = PublishedOptions(args, path)
    options.problems += [
        f"{name} {getattr(args, name)!r} instead of {value!r}"
        for name, value in _REQUIRED.items()
        if getattr(args, name, value) != value
    ]
    if options.of_language_model:
        defaults = language_model_defaults(T2RLanguageModelConfig, interpolated=True)
        ours = options.under_our_names("t2r_transformer_lm", defaults)
    else:
        ours = options.under_our_names("t2r_transformer", T2R_OPTIONS.defaults())
        ours.cross_feature_dim = options.get("cross_proj_dim", int)
    ours.feature_map = "t2r"
    ours.causal_feature_dim = options.get("causal_proj_dim", int)
    if options.get("decoder_attention_heads", int, 1) < 1:
        options.problems.append(f"decoder_attention_heads {args.decoder_attention_heads}")
    options.refuse()
    return ours


def _fold_scales(state: State, heads: int, path: str) -> State:
    """Feature maps as the authors apply them, W := sigma W / tau, with a matrix for each head: [H, k, d].

    Theirs hold all heads in one matrix, [H * k, d], with sigma: [H, 1, d] (`--reparam-proj`) and tau: [1] or [H, 1, 1]
    (`--learned-tau`) beside it. Raises UserError for shapes that do not fit and for a tau of 0.
    """
    folded, problems = {}, []
    for name, tensor in state.items():
        attention, mapped, leaf = name.rpartition(".feature_map.")
        if mapped and tensor.dim() and tensor.size(0) % heads == 0:
            folded[name] = tensor.unflatten(0, (heads, -1))
            if leaf == "weight":
                sigma, tau = (state.get(f"{attention}.{scale}", torch.ones(1)) for scale in _SCALES)
                try:
                    folded[name] = sigma * folded[name] / tau
                except RuntimeError:
                    problems.append(f"{attention}: sigma {list(sigma.shape)} or tau {list(tau.shape)} does not fit")
                if (tau == 0).any():
                    problems.append(f"{attention}.tau is 0")
        elif name.rpartition(".")[2] not in _SCALES:
            folded[name] = tensor
    refuse_options(path, problems)
    return folded


def convert_t2r(path: str) -> Checkpoint:
    """Turn a checkpoint of the authors' into one of this plugin's `t2r_transformer` or `t2r_transformer_lm`.

    Raises UserError that lists every option without a counterpart and every weight that is missing, left over or
    of another shape.
    """
    whose = "the authors' checkpoints were trained with --use-rfa"
    published = read_published(path, lambda args: getattr(args, "use_rfa", False), whose)
    args = published["args"]
    options = _our_options(args, path)
    state = _fold_scales(renamed(published["model"], _KEYS), args.decoder_attention_heads, path)
    return checkpoint_of(options, state, path)
