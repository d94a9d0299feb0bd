"""Checkpoints of the Lite Transformer authors (fairseq 0.8, `transformer_multibranch_v2*`)."""

from __future__ import annotations

import argparse
import contextlib
import re
from dataclasses import fields
from typing import Any, Dict, List, Tuple

import torch
from fairseq.dataclass.utils import convert_namespace_to_omegaconf
from fairseq.models import ARCH_CONFIG_REGISTRY

from fairseq_lite.checkpoints import Checkpoint, build_model_of, shape_mismatches
from fairseq_lite.errors import UserError
from fairseq_lite.mistakes import unreadable_checkpoint
from fairseq_lite.models.options import LiteTransformerLanguageModelConfig, encoder_decoder_defaults

# Names in the authors' state dict, and ours.
_KEYS: Tuple[Tuple[str, str], ...] = (
    (r"\.self_attn\.branches\.0\.", ".self_attn.attention."),
    (r"\.self_attn\.branches\.1\.", ".self_attn.conv."),
    (r"^decoder\.embed_out$", "decoder.output_projection.weight"),
)


class _Meter:
    """Stands in for the training meters that fairseq 0.8 pickled with its checkpoints; nothing reads them."""


def _read(path: str) -> Dict[str, Any]:
    """Read the authors' file, weights-only where torch can; raises UserError if it is not one of theirs."""
    meters = [(_Meter, f"fairseq.meters.{name}") for name in ("AverageMeter", "StopwatchMeter", "TimeMeter")]
    safe_globals = getattr(torch.serialization, "safe_globals", lambda allowed: contextlib.nullcontext())
    try:
        with safe_globals(meters):
            checkpoint = torch.load(path, map_location="cpu")
    except Exception as error:
        raise UserError(unreadable_checkpoint(path, error)) from error
    args = checkpoint.get("args") if isinstance(checkpoint, dict) else None
    arch = getattr(args, "arch", None)
    if "multibranch" not in str(arch):
        raise UserError(f"{path}: architecture {arch!r}; the authors' Lite Transformers are named *_multibranch_v2*")
    return checkpoint


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
    language_model = not hasattr(args, "encoder_embed_dim")
    if language_model:
        known = {f.name for f in fields(LiteTransformerLanguageModelConfig)}
    else:
        known = set(encoder_decoder_defaults())
    ours = argparse.Namespace(**{name: value for name, value in vars(args).items() if name in known})
    problems: List[str] = []
    if not getattr(args, "conv_linear", True):
        problems.append("convolutions without linear layers (conv_linear False)")
    for side in ("decoder",) if language_model else ("encoder", "decoder"):
        vars(ours).update(_side_options(args, side, problems))
    if problems:
        raise UserError(f"{path}: options without a counterpart here: {'; '.join(problems)}")
    ours.arch = "lite_transformer_lm" if language_model else "lite_transformer"
    ours.task = "language_modeling" if language_model else "translation"
    ours.criterion = "adaptive_loss" if getattr(args, "adaptive_softmax_cutoff", None) else "cross_entropy"
    for name in ("data", "source_lang", "target_lang", "tokens_per_sample"):
        if hasattr(args, name):
            setattr(ours, name, getattr(args, name))
    ARCH_CONFIG_REGISTRY[ours.arch](ours)
    return ours


def _our_key(name: str) -> str:
    for pattern, replacement in _KEYS:
        name = re.sub(pattern, replacement, name)
    return name


def _take_placeholders(state: Dict[str, torch.Tensor], wanted: Dict[str, torch.Tensor]) -> None:
    """Replace the buffers that only tell a module's device, which fairseq's releases do not agree on."""
    suffix = "._float_tensor"
    for name in [name for name in state if name.endswith(suffix)]:
        del state[name]
    state.update({name: tensor for name, tensor in wanted.items() if name.endswith(suffix)})


def convert_lite_transformer(path: str) -> Checkpoint:
    """Turn a checkpoint of the authors' into one of this plugin's `lite_transformer` or `lite_transformer_lm`.

    Raises UserError that lists every option without a counterpart and every weight that is missing, left over or
    of another shape.
    """
    published = _read(path)
    checkpoint = {
        "args": None,
        "cfg": convert_namespace_to_omegaconf(_our_options(published["args"], path)),
        "model": {_our_key(name): tensor for name, tensor in published["model"].items()},
        "optimizer_history": [
            {"criterion_name": "", "optimizer_name": "", "lr_scheduler_state": {}, "num_updates": 0}
        ],
        "extra_state": {"train_iterator": {"epoch": 1, "iterations_in_epoch": 0}},
        "task_state": {},
    }
    model = build_model_of(checkpoint, path)
    state = checkpoint["model"]
    model.upgrade_state_dict(state)
    _take_placeholders(state, model.state_dict())
    wrong = shape_mismatches(state, model.state_dict())
    if wrong:
        name = checkpoint["cfg"]["model"]._name
        raise UserError(f"{path}: {len(wrong)} weights do not fit {name}: {'; '.join(wrong)}")
    model.load_state_dict(state, strict=True)
    checkpoint["model"] = model.state_dict()
    return checkpoint
