"""Checkpoints of the T2R authors (fairseq 0.9, `--use-rfa --random-feature mlp`)."""

from __future__ import annotations

import argparse
import re
from dataclasses import fields
from typing import List

from fairseq_lite.checkpoints import Checkpoint
from fairseq_lite.converters.published import (
    State,
    checkpoint_of,
    is_language_model,
    known_options,
    read_published,
    refuse_options,
    renamed,
)
from fairseq_lite.models.options import T2R_OPTIONS, T2RLanguageModelConfig

# Names in the authors' state dict, and ours.
_KEYS = (
    (r"\.fc3\.", ".self_attn.feature_map."),
    (r"\.fc4\.", ".encoder_attn.feature_map."),
)
_TEMPERATURE = re.compile(r"\.(?:self_attn|encoder_attn)\.tau$")

# The only values of the authors' options that linear attention here has a form for.
_REQUIRED = {
    "random_feature": "mlp",
    "attn_act": "relu",
    "learned_tau": False,
    "reparam_proj": False,
    "norm_rescale": False,
    "use_input_gate": False,
}


def _our_options(args: argparse.Namespace, path: str) -> argparse.Namespace:
    """The authors' options under our names; raises UserError with all that has no counterpart."""
    problems: List[str] = [
        f"{name} {getattr(args, name)!r} instead of {value!r}"
        for name, value in _REQUIRED.items()
        if getattr(args, name, value) != value
    ]
    refuse_options(path, problems)
    if is_language_model(args):
        ours = known_options(args, {f.name for f in fields(T2RLanguageModelConfig)})
        ours.arch = "t2r_transformer_lm"
    else:
        ours = known_options(args, T2R_OPTIONS.defaults())
        ours.arch = "t2r_transformer"
        ours.cross_feature_dim = args.cross_proj_dim
    ours.feature_map = "t2r"
    ours.causal_feature_dim = args.causal_proj_dim
    return ours


def _take_temperatures(state: State, path: str) -> None:
    """Drop the temperatures, all of which must be 1."""
    names = [name for name in state if _TEMPERATURE.search(name)]
    other = [f"{name} is {state[name].item():g} instead of 1" for name in names if (state[name] != 1).any()]
    refuse_options(path, other)
    for name in names:
        del state[name]


def _split_heads(state: State, heads: int) -> None:
    """Feature maps of all heads in one matrix, [H * k, d], become one for each, [H, k, d]."""
    for name in state:
        if ".feature_map." in name:
            state[name] = state[name].unflatten(0, (heads, -1))


def convert_t2r(path: str) -> Checkpoint:
    """Turn a checkpoint of the authors' into one of this plugin's `t2r_transformer` or `t2r_transformer_lm`.

    Raises UserError that lists every option without a counterpart and every weight that is missing, left over or
    of another shape.
    """
    whose = "the authors' checkpoints were trained with --use-rfa"
    published = read_published(path, lambda args: getattr(args, "use_rfa", False), whose)
    args = published["args"]
    options = _our_options(args, path)
    state = renamed(published["model"], _KEYS)
    _take_temperatures(state, path)
    _split_heads(state, args.decoder_attention_heads)
    return checkpoint_of(options, state, path)
