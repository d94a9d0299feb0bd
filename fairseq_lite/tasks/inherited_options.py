"""The architecture options of a finetuning, taken from the checkpoint that it starts from."""

from __future__ import annotations

import argparse
import contextlib
import copy
import logging
import re
from dataclasses import fields
from typing import Any, Dict, Set

from fairseq.models import ARCH_CONFIG_REGISTRY, ARCH_MODEL_REGISTRY, MODEL_DATACLASS_REGISTRY
from omegaconf import OmegaConf, open_dict

from fairseq_lite.checkpoints import architecture_of, model_options, read_checkpoint
from fairseq_lite.errors import UserError

logger = logging.getLogger(__name__)

# Options of training, which are no part of the architecture; files of embeddings, whose weights the checkpoint has.
_OF_TRAINING = re.compile(
    r"dropout|layerdrop|init_ratio|layers_to_keep|quant_noise|checkpoint_activations|offload_activations|"
    r"min_params_to_wrap|embed_path|^freeze|^load_checkpoint_heads$|^arch$|^base_(layers|sublayers|shuffle)$|"
    r"^export$|^tpu$|^no_progress"
)
# Options that a model may change: attention that becomes linear, longer sentences, and the file of a shrunk model.
_CHANGEABLE = re.compile(
    r"feature_map$|feature_dim$|^linear_attention$|^softmax_(sub)?layers$|^causal_(gate|window)$|"
    r"^max_(source|target)_positions$|^pruned_widths$|^alignment_"
)


def declared_options(architecture: str) -> Set[str]:
    """The names of a model's own options of the command line."""
    parser = argparse.ArgumentParser(allow_abbrev=False)
    ARCH_MODEL_REGISTRY[architecture].add_args(parser)
    return {action.dest for action in parser._actions if not _OF_TRAINING.search(action.dest)} - {"help"}


def options_in(path: str) -> Dict[str, Any]:
    """The model's options in a checkpoint by name."""
    options = model_options(read_checkpoint(path), path)
    options = OmegaConf.to_container(options) if OmegaConf.is_config(options) else dict(vars(options))
    if options.get("share_all_embeddings"):
        # fairseq sets it while it builds the model, in some releases after it has kept the options.
        options["share_decoder_input_output_embed"] = True
    return options


def _same(first: Any, second: Any) -> bool:
    """Equal values, however a command line, a checkpoint or hydra writes them: 8, "8", [3, 7], "3,7", False, None."""
    first, second = (re.sub(r"[\[\]()' ]", "", str(value or "")) for value in (first, second))
    return first == second


def take_options(given: argparse.Namespace, path: str, architecture: str) -> None:
    """Set the architecture options that are not given to those of a checkpoint, and log what that changes.

    Options of training stay as they are. Raises UserError for an option that is given and differs.
    """
    if not path:
        raise UserError("--pretrained: the path is empty; give a checkpoint, or leave the option out")
    found = options_in(path)
    names = sorted(declared_options(architecture) & set(found))
    usual = copy.copy(given)
    ARCH_CONFIG_REGISTRY.get(architecture, lambda args: None)(usual)
    wrong, taken = [], []
    for name in names:
        flag, value = f"--{name.replace('_', '-')}", found[name]
        if getattr(given, name, None) is None:
            setattr(given, name, value)
            if not _same(getattr(usual, name, _dataclass_default(architecture, name)), value):
                taken.append(f"{flag} {value}" if name != "pruned_widths" else flag)
        elif not _same(getattr(given, name), value) and not _CHANGEABLE.search(name):
            wrong.append(f"{flag} {getattr(given, name)}, where it has {value}")
    if wrong:
        raise UserError(f"--pretrained {path}: was trained with other options; leave out {'; '.join(wrong)}")
    logger.info(f"--pretrained {path}: options taken from it: {', '.join(taken) or 'none that differ'}")


def _dataclass_default(architecture: str, name: str) -> Any:
    config = MODEL_DATACLASS_REGISTRY.get(architecture)
    return next((f.default for f in fields(config) if f.name == name), None) if config else None


def take_options_while_parsing(parser: argparse.ArgumentParser) -> None:
    """Let a parser of fairseq-train take options from --pretrained.

    Between parsing and the architecture's defaults a namespace holds the model's options that the user gave, and
    no others: fairseq suppresses their defaults.
    """
    parse_known_args = parser.parse_known_args

    def parse(args=None, namespace=None):
        namespace, rest = parse_known_args(args, namespace)
        if namespace.pretrained is not None and getattr(namespace, "arch", None) in ARCH_MODEL_REGISTRY:
            take_options(namespace, namespace.pretrained, namespace.arch)
            namespace.pretrained_options_taken = True
        return namespace, rest

    parser.parse_known_args = parse


def _is_default(architecture: str, name: str, values: Dict[str, Any]) -> bool:
    """Whether an option has the default of its dataclass, or follows from another option as it does by default."""
    default = _dataclass_default(architecture, name)
    followed = re.fullmatch(r"\$\{model\.(\w+)\}", str(default))
    default = values.get(followed[1]) if followed else default
    return default is not None and _same(values[name], default)


def take_options_unless_given(cfg, path: str) -> None:
    """The same for options from hydra, in place: one that is None or at its dataclass's default is not given."""
    values = OmegaConf.to_container(cfg) if OmegaConf.is_config(cfg) else vars(cfg)
    architecture = architecture_of(cfg)
    given = {name: value for name, value in values.items() if not _is_default(architecture, name, values)}
    options = argparse.Namespace(**given)
    take_options(options, path, architecture)
    with open_dict(cfg) if OmegaConf.is_config(cfg) else contextlib.nullcontext():
        for name, value in vars(options).items():
            if value is not None:
                setattr(cfg, name, value)
