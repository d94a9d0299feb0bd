"""What converters of published checkpoints share: reading the authors' file and building ours from it."""

from __future__ import annotations

import argparse
import contextlib
import re
from typing import Any, Callable, Dict, Iterable, Sequence, Tuple

import torch
from fairseq.dataclass.utils import convert_namespace_to_omegaconf
from fairseq.models import ARCH_CONFIG_REGISTRY

from fairseq_lite.checkpoints import Checkpoint, build_model_of, shape_mismatches
from fairseq_lite.errors import UserError
from fairseq_lite.mistakes import unreadable_checkpoint
from fairseq_lite.models.fast_path import drop_fast_path_copies

State = Dict[str, torch.Tensor]


class _Meter:
    """Stands in for the training meters that fairseq 0.8 pickled with its checkpoints; nothing reads them."""


def read_published(path: str, is_theirs: Callable[[argparse.Namespace], bool], whose: str) -> Dict[str, Any]:
    """Read the authors' file, weights-only where torch can; raises UserError if it is not one of theirs."""
    meters = [(_Meter, f"fairseq.meters.{name}") for name in ("AverageMeter", "StopwatchMeter", "TimeMeter")]
    safe_globals = getattr(torch.serialization, "safe_globals", lambda allowed: contextlib.nullcontext())
    try:
        with safe_globals(meters):
            checkpoint = torch.load(path, map_location="cpu")
    except Exception as error:
        raise UserError(unreadable_checkpoint(path, error)) from error
    args = checkpoint.get("args") if isinstance(checkpoint, dict) else None
    if args is None or not is_theirs(args):
        raise UserError(f"{path}: architecture {getattr(args, 'arch', None)!r}; {whose}")
    return checkpoint


def is_language_model(args: argparse.Namespace) -> bool:
    return not hasattr(args, "encoder_embed_dim")


def known_options(args: argparse.Namespace, known: Iterable[str]) -> argparse.Namespace:
    """The authors' options that have the same name and meaning here, with the task that they were for."""
    ours = argparse.Namespace(**{name: value for name, value in vars(args).items() if name in set(known)})
    ours.task = "language_modeling" if is_language_model(args) else "translation"
    ours.criterion = "adaptive_loss" if getattr(args, "adaptive_softmax_cutoff", None) else "cross_entropy"
    for name in ("data", "source_lang", "target_lang", "tokens_per_sample"):
        if hasattr(args, name):
            setattr(ours, name, getattr(args, name))
    return ours


def refuse_options(path: str, problems: Sequence[str]) -> None:
    """Raise UserError that lists all that the authors' options ask for and we have not."""
    if problems:
        raise UserError(f"{path}: options without a counterpart here: {'; '.join(problems)}")


def renamed(state: State, patterns: Sequence[Tuple[str, str]]) -> State:
    """The state dict with every (pattern, replacement) applied to its names, in order."""

    def rename(name: str) -> str:
        for pattern, replacement in patterns:
            name = re.sub(pattern, replacement, name)
        return name

    return {rename(name): tensor for name, tensor in state.items()}


def checkpoint_of(options: argparse.Namespace, state: State, path: str) -> Checkpoint:
    """A checkpoint of `options.arch` that fairseq loads; raises UserError that lists every weight that does not fit."""
    ARCH_CONFIG_REGISTRY[options.arch](options)
    checkpoint = {
        "args": None,
        "cfg": convert_namespace_to_omegaconf(options),
        "model": state,
        "optimizer_history": [{"criterion_name": "", "optimizer_name": "", "lr_scheduler_state": {}, "num_updates": 0}],
        "extra_state": {"train_iterator": {"epoch": 1, "iterations_in_epoch": 0}},
        "task_state": {},
    }
    model = build_model_of(checkpoint, path)
    model.upgrade_state_dict(state)
    _take_placeholders(state, model.state_dict())
    wanted = model.state_dict()
    # Filled when a checkpoint is loaded.
    drop_fast_path_copies(wanted)
    wrong = shape_mismatches(state, wanted)
    if wrong:
        raise UserError(f"{path}: {len(wrong)} weights do not fit {options.arch}: {'; '.join(wrong)}")
    model.load_state_dict(state, strict=True)
    checkpoint["model"] = model.state_dict()
    drop_fast_path_copies(checkpoint["model"])
    return checkpoint


def _take_placeholders(state: State, wanted: State) -> None:
    """Replace the buffers that only tell a module's device, which fairseq's releases do not agree on."""
    suffix = "._float_tensor"
    for name in [name for name in state if name.endswith(suffix)]:
        del state[name]
    state.update({name: tensor for name, tensor in wanted.items() if name.endswith(suffix)})
