"""What converters of published checkpoints share: reading the authors' file and building ours from it."""

from __future__ import annotations

import argparse
import ast
import contextlib
import re
from typing import Any, Callable, Dict, List, Sequence, Tuple

import torch
from fairseq.dataclass.utils import convert_namespace_to_omegaconf
from fairseq.models import ARCH_CONFIG_REGISTRY
from hydra.errors import HydraException

from fairseq_lite.archives import load_file
from fairseq_lite.checkpoints import Checkpoint, build_model_of, new_checkpoint, shape_mismatches
from fairseq_lite.errors import UserError
from fairseq_lite.explain import unreadable_checkpoint
from fairseq_lite.models.fast_path import drop_fast_path_copies

State = Dict[str, torch.Tensor]


class _Ignored:
    """Stands in for what old releases of fairseq pickled beside weights and options; nothing reads it."""


# fairseq 0.8's training meters, and the function that the authors' IWSLT architecture keeps among its options.
_IGNORED = (
    *(f"fairseq.meters.{name}" for name in ("AverageMeter", "StopwatchMeter", "TimeMeter")),
    *(f"fairseq.models.transformer{lm}_multibranch_v2.ratio_xavier_uniform_" for lm in ("", "_lm")),
)


def read_published(path: str, is_theirs: Callable[[argparse.Namespace], bool], whose: str) -> Dict[str, Any]:
    """Read the authors' file, weights-only where torch can; raises UserError if it is not one of theirs."""
    ignored = [(_Ignored, name) for name in _IGNORED]
    safe_globals = getattr(torch.serialization, "safe_globals", lambda allowed: contextlib.nullcontext())
    try:
        with safe_globals(ignored):
            checkpoint = load_file(path)
    except UserError:
        raise
    except Exception as error:
        raise UserError(unreadable_checkpoint(path, error)) from error
    args = checkpoint.get("args") if isinstance(checkpoint, dict) else None
    if not isinstance(args, argparse.Namespace) or not is_theirs(args):
        raise UserError(f"{path}: architecture {getattr(args, 'arch', None)!r}; {whose}")
    state = checkpoint.get("model")
    if not isinstance(state, dict) or not all(isinstance(tensor, torch.Tensor) for tensor in state.values()):
        raise UserError(f"{path}: its entry 'model' holds no weights by name; give the file that training wrote")
    return checkpoint


class PublishedOptions:
    """The authors' options, and all that is wrong with them: `problems`, a phrase each."""

    def __init__(self, args: argparse.Namespace, path: str):
        self.path = path
        self.problems: List[str] = []
        self._args = vars(args)
        self.of_language_model = "encoder_embed_dim" not in self._args

    def get(self, name: str, kind: type, default: Any = None) -> Any:
        """An option that must be of a kind; notes a problem and gives the default where it is not."""
        value = self._args.get(name)
        if isinstance(value, kind) and not (kind is int and isinstance(value, bool)):
            return value
        self.problems.append(f"{name} {value!r} is no {kind.__name__}")
        return default

    def under_our_names(self, arch: str, defaults: Dict[str, Any]) -> argparse.Namespace:
        """The options that have the same name and meaning here, with the task that they were for."""
        ours = argparse.Namespace(arch=arch)
        for name in {*defaults, *_TASK_OPTIONS} & set(self._args):
            value = self._args[name]
            if value is not None and not _fits(value, defaults.get(name)):
                self.problems.append(f"{name} {value!r} is no {type(defaults[name]).__name__}")
            if name in _EVALUATED and value is not None and not _is_list_of_numbers(value):
                self.problems.append(f"{name} {value!r} is no list of numbers")
            setattr(ours, name, value)
        ours.task = "language_modeling" if self.of_language_model else "translation"
        ours.criterion = "adaptive_loss" if self._args.get("adaptive_softmax_cutoff") else "cross_entropy"
        return ours

    def refuse(self) -> None:
        """Raise UserError that lists all problems, where there are any."""
        refuse_options(self.path, self.problems)


_TASK_OPTIONS = ("data", "source_lang", "target_lang", "tokens_per_sample")
# What fairseq hands to Python's eval.
_EVALUATED = ("adaptive_input_cutoff", "adaptive_softmax_cutoff", "character_filters")


def _is_list_of_numbers(value: Any) -> bool:
    try:
        parsed = ast.literal_eval(str(value))
    except (SyntaxError, ValueError):
        return False
    return all(isinstance(item, (int, tuple)) for item in (parsed if isinstance(parsed, (list, tuple)) else [parsed]))


def _fits(value: Any, default: Any) -> bool:
    """Whether a value is of the kind of an option's default, as far as that tells."""
    if isinstance(default, bool):
        return isinstance(value, int)
    return not isinstance(default, (int, float)) or isinstance(value, (int, float))


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
    keep_layers(options, state, path)
    checkpoint = new_checkpoint(_completed(options, path), state)
    model = _built(checkpoint, path)
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


def keep_layers(options: argparse.Namespace, state: State, path: str) -> None:
    """Let options and weights hold the layers of --...-layers-to-keep alone, numbered from 0."""
    for side in ("encoder", "decoder"):
        given = getattr(options, f"{side}_layers_to_keep", None)
        if not given:
            continue
        if not re.fullmatch(r"\d+(,\d+)*", str(given)):
            raise UserError(f"{path}: {side}_layers_to_keep {given!r} is no list of numbers")
        kept = sorted({int(number) for number in str(given).split(",")})
        prefix = f"{side}.layers."
        # A checkpoint of such a training holds those layers alone, and needs no renumbering.
        if len({name[len(prefix) :].split(".")[0] for name in state if name.startswith(prefix)}) > len(kept):
            _renumber(state, prefix, kept)
        setattr(options, f"{side}_layers", len(kept))
        setattr(options, f"{side}_layers_to_keep", None)


def _renumber(state: State, prefix: str, kept: Sequence[int]) -> None:
    """Drop the layers that are not kept, and count the others from 0, in place."""
    for name in [name for name in state if name.startswith(prefix)]:
        number, rest = name[len(prefix) :].split(".", 1)
        tensor = state.pop(name)
        if number.isdigit() and int(number) in kept:
            state[f"{prefix}{kept.index(int(number))}.{rest}"] = tensor


# What fairseq raises for options that describe no model.
_NO_MODEL = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    HydraException,
    LookupError,
    RuntimeError,
    TypeError,
    ValueError,
)


def _completed(options: argparse.Namespace, path: str):
    """The options with the defaults of their architecture, as fairseq stores them."""
    try:
        ARCH_CONFIG_REGISTRY[options.arch](options)
        return convert_namespace_to_omegaconf(options)
    except _NO_MODEL as error:
        raise UserError(_describe_no_model(path, error)) from error


def _built(checkpoint: Checkpoint, path: str):
    try:
        return build_model_of(checkpoint, path)
    except _NO_MODEL as error:
        raise UserError(_describe_no_model(path, error)) from error


def _describe_no_model(path: str, error: Exception) -> str:
    return f"{path}: its options describe no model ({type(error).__name__}: {' '.join(str(error).split())[:200]})"
