"""Removing the neurons of a checkpoint that are zero, for good."""

from __future__ import annotations

import copy
import json
from typing import Dict

from fairseq.dataclass.utils import omegaconf_no_object_check
from fairseq.models import ARCH_MODEL_NAME_REGISTRY
from omegaconf import OmegaConf
from torch import Tensor

from fairseq_lite.checkpoints import Checkpoint, architecture_of, model_of, model_options
from fairseq_lite.errors import UserError
from fairseq_lite.models.fast_path import drop_fast_path_copies
from fairseq_lite.models.pruned import PRUNED_PREFIX, SHRINKABLE_MODELS
from fairseq_lite.pruning.cuts import Cut, find_cuts


def shrink(checkpoint: Checkpoint, path: str) -> Checkpoint:
    """The checkpoint without its zero neurons, under an architecture `pruned_...` with the same outputs.

    The optimizer's state, which is of the old shapes, goes too. Raises UserError for an architecture that cannot be
    shrunk and where nothing is to be removed.
    """
    base = _supported_model(checkpoint, path)
    cuts = find_cuts(model_of(checkpoint, path))
    if not cuts:
        raise UserError(f"{path}: no neuron to remove is zero; train with a criterion ..._with_pruning first")
    shrunk = {key: value for key, value in checkpoint.items() if key != "last_optimizer_state"}
    shrunk["cfg"] = _with_widths(checkpoint["cfg"], PRUNED_PREFIX + base, cuts)
    shrunk["model"] = cut_state(checkpoint["model"], cuts)
    return shrunk


def _supported_model(checkpoint: Checkpoint, path: str) -> str:
    """The registered name of the checkpoint's model."""
    name = architecture_of(model_options(checkpoint, path))
    model = ARCH_MODEL_NAME_REGISTRY.get(name, name)
    if model not in SHRINKABLE_MODELS:
        raise UserError(f"{path}: architecture {name!r} cannot be shrunk; those of {', '.join(SHRINKABLE_MODELS)} can")
    return model


def _with_widths(cfg, architecture: str, cuts: Dict[str, Cut]):
    options = copy.deepcopy(cfg["model"])
    if OmegaConf.is_config(options):
        OmegaConf.set_struct(options, False)
    widths = json.dumps({name: cut.widths() for name, cut in cuts.items()})
    for name, value in (("_name", architecture), ("arch", architecture), ("pruned_widths", widths)):
        setattr(options, name, value)
    cfg = copy.deepcopy(cfg)
    with omegaconf_no_object_check():
        cfg["model"] = options
    return cfg


def cut_state(state: Dict[str, Tensor], cuts: Dict[str, Cut]) -> Dict[str, Tensor]:
    """A model's state after the cuts, without the copies that fairseq 0.12.2 keeps of what was cut."""
    state = dict(state)
    drop_fast_path_copies(state)
    for name, cut in cuts.items():
        weight, bias = state.pop(f"{name}.weight"), state.pop(f"{name}.bias", None)
        state.update({f"{name}.{key}": tensor for key, tensor in cut.state(weight, bias).items()})
    return state
