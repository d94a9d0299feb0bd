"""Removing the neurons of a checkpoint that are zero, for good."""

from __future__ import annotations

import copy
import json
from typing import Dict, Tuple

import torch.nn as nn
from fairseq.models import ARCH_MODEL_NAME_REGISTRY
from omegaconf import OmegaConf

from fairseq_lite.checkpoints import (
    UNNAMED,
    Checkpoint,
    StateDict,
    architecture_of,
    derived_checkpoint,
    model_of,
    model_options,
    require_finite,
    with_model_options,
)
from fairseq_lite.errors import UserError
from fairseq_lite.models.fast_path import drop_fast_path_copies
from fairseq_lite.models.pruned import PRUNED_PREFIX, SHRINKABLE_MODELS, widths_of
from fairseq_lite.modules import PrunedLinear, Widths
from fairseq_lite.modules.pruned_linear import dense_state
from fairseq_lite.pruning.cuts import Cut, find_cuts


def shrink(checkpoint: Checkpoint, path: str = UNNAMED) -> Checkpoint:
    """The checkpoint without its zero neurons, under an architecture `pruned_...` with the same outputs.

    One that was shrunk before can be shrunk again. The optimizer's state and the moving averages, which are of the
    old shapes, are left out.

    Args:
        checkpoint: as `read_checkpoint` gives it; it stays as it is
        path: what errors call it

    Raises UserError for an architecture that cannot be shrunk, for weights that are not finite and where nothing is
    to be removed.

    Examples:
        >>> from fairseq_lite import read_checkpoint, shrink, write_checkpoint
        >>> small = shrink(read_checkpoint("checkpoint.pt"))
        >>> small["cfg"]["model"]._name
        'pruned_lite_transformer'
        >>> write_checkpoint(small, "small.pt")
    """
    base = _supported_model(checkpoint, path)
    require_finite(checkpoint["model"], path)
    model = model_of(checkpoint, path)
    before = widths_of(checkpoint["cfg"]["model"])
    make_dense(model)
    cuts = find_cuts(model)
    widths = {name: Widths(w.in_features, w.in_features, w.out_features, w.out_features) for name, w in before.items()}
    widths.update({name: cut.widths() for name, cut in cuts.items()})
    if widths == before:
        raise UserError(f"{path}: no neuron to remove is zero; train with a criterion ..._with_pruning first")
    shrunk = derived_checkpoint(checkpoint, cut_state(without_gaps(checkpoint["model"], before), cuts))
    shrunk["cfg"] = _with_widths(checkpoint["cfg"], PRUNED_PREFIX + base, widths)
    return shrunk


def _supported_model(checkpoint: Checkpoint, path: str) -> str:
    """The registered name of the checkpoint's model as it was before it was shrunk, if it was."""
    name = architecture_of(model_options(checkpoint, path))
    model = ARCH_MODEL_NAME_REGISTRY.get(name, name)
    base = model[len(PRUNED_PREFIX) :] if model.startswith(PRUNED_PREFIX) else model
    if base not in SHRINKABLE_MODELS:
        raise UserError(f"{path}: architecture {name!r} cannot be shrunk; those of {', '.join(SHRINKABLE_MODELS)} can")
    return base


def make_dense(model: nn.Module) -> None:
    """Put ordinary linear layers in the place of pruned ones, so that cuts are found as in a model never shrunk."""
    for module in list(model.modules()):
        for name, child in module.named_children():
            if isinstance(child, PrunedLinear):
                setattr(module, name, child.dense())


def without_gaps(state: StateDict, widths: Dict[str, Widths]) -> StateDict:
    """A shrunk model's state with ordinary linear layers in the place of those that `widths` names."""
    state = dict(state)
    for name, layer in widths.items():
        keys = [key for key in ("weight", "bias", "inputs", "outputs") if f"{name}.{key}" in state]
        pruned = {key: state.pop(f"{name}.{key}") for key in keys}
        full = dense_state(pruned, layer.in_features, layer.out_features)
        state.update({f"{name}.{key}": tensor for key, tensor in full.items()})
    return state


def _with_widths(cfg, architecture: str, widths: Dict[str, Widths]):
    options = copy.deepcopy(cfg["model"])
    if OmegaConf.is_config(options):
        OmegaConf.set_struct(options, False)
    for name, value in (("_name", architecture), ("arch", architecture), ("pruned_widths", json.dumps(widths))):
        setattr(options, name, value)
    return with_model_options(cfg, options)


def cut_state(state: StateDict, cuts: Dict[str, Cut]) -> StateDict:
    """A model's state after the cuts, without the copies that fairseq 0.12.2 keeps of what was cut.

    What two names share, as the encoders of several language pairs, they share afterwards.
    """
    state = dict(state)
    drop_fast_path_copies(state)
    made: Dict[Tuple[int, int], StateDict] = {}
    for name, cut in cuts.items():
        weight, bias = state.pop(f"{name}.weight"), state.pop(f"{name}.bias", None)
        identity = (id(cut), weight.data_ptr())
        if identity not in made:
            made[identity] = cut.state(weight, bias)
        state.update({f"{name}.{key}": tensor for key, tensor in made[identity].items()})
    return state
