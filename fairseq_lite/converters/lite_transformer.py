"""Checkpoints of the Lite Transformer authors (fairseq 0.8, `transformer_multibranch_v2*`)."""

from __future__ import annotations

import argparse
from dataclasses import fields
from typing import Any, Dict, List

from fairseq_lite.checkpoints import Checkpoint
from fairseq_lite.converters.published import (
    checkpoint_of,
    is_language_model,
    known_options,
    read_published,
    refuse_options,
    renamed,
)
from fairseq_lite.models.options import LITE_TRANSFORMER_OPTIONS, LiteTransformerLanguageModelConfig

# Names in the authors' state dict, and ours.
_KEYS = (
    (r"\.self_attn\.branches\.0\.", ".self_attn.attention."),
    (r"\.self_attn\.branches\.1\.", ".self_attn.conv."),
    (r"^decoder\.embed_out$", "decoder.output_projection.weight"),
)


def _side_options(args: argparse.Namespace, side: str, problems: List[str]) -> Dict[str, Any]:
    """Read the branches of one side, such as ["attn:1:80:4", "lightweight:default:80:4"]."""
    branches = [branch.split(":") for branch in getattr(args, f"{side}_branch_type")]
    kinds = [branch[0] for branch in branches]
    if len(kinds) != 2 or kinds[0] != "attn" or kinds[1] not in ("lightweight", "dynamic"):
        problems.append(f"{side} branches {kinds} instead of attention and one convolution")
        return {}
    if not all(getattr(args, f"{side}_ffn_list", None) or [True]):
        problems.append(f"{side} layers without FFN")
    (_, _, attention_dim, heads), (conv_type, _, conv_dim, conv_heads) = branches
    if int(attention_dim) + int(conv_dim) != getattr(args, f"{side}_embed_dim"):
        problems.append(f"{side} branches of {attention_dim} + {conv_dim} channels do not add up to its width")
    options = dict(
        conv_type=conv_type,
        kernel_sizes=",".join(map(str, getattr(args, f"{side}_kernel_size_list"))),
        attention_dim=int(attention_dim),
        self_attention_heads=int(heads),
        conv_heads=int(conv_heads),
        conv_glu=bool(getattr(args, f"{side}_glu")),
    )
    return {f"{side}_{name}": value for name, value in options.items()}


def _our_options(args: argparse.Namespace, path: str) -> argparse.Namespace:
    """The authors' options under our names; raises UserError with all that has no counterpart."""
    if is_language_model(args):
        arch, sides = "lite_transformer_lm", ("decoder",)
        known = {f.name for f in fields(LiteTransformerLanguageModelConfig)}
    else:
        arch, sides = "lite_transformer", ("encoder", "decoder")
        known = set(LITE_TRANSFORMER_OPTIONS.defaults())
    ours = known_options(args, known)
    ours.arch = arch
    problems: List[str] = []
    if not getattr(args, "conv_linear", True):
        problems.append("convolutions without linear layers (conv_linear False)")
    for side in sides:
        vars(ours).update(_side_options(args, side, problems))
    refuse_options(path, problems)
    return ours


def convert_lite_transformer(path: str) -> Checkpoint:
    """Turn a checkpoint of the authors' into one of this plugin's `lite_transformer` or `lite_transformer_lm`.

    Raises UserError that lists every option without a counterpart and every weight that is missing, left over or
    of another shape.
    """
    whose = "the authors' Lite Transformers are named *_multibranch_v2*"
    published = read_published(path, lambda args: "multibranch" in str(getattr(args, "arch", None)), whose)
    return checkpoint_of(_our_options(published["args"], path), renamed(published["model"], _KEYS), path)
