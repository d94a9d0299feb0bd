"""Starting a model from a checkpoint of the same model with softmax attention."""

from __future__ import annotations

import logging
from typing import Dict, List, Set

import torch.nn as nn
from torch import Tensor

from fairseq_lite.checkpoints import load_model, require_finite, shape_mismatches
from fairseq_lite.errors import UserError
from fairseq_lite.models.fast_path import drop_fast_path_copies
from fairseq_lite.modules.attention_transfer import linear_attentions

logger = logging.getLogger(__name__)


def new_weights(model: nn.Module) -> Set[str]:
    """Names in the model's state dict of all that its linear attention adds to softmax attention."""
    return {f"{name}.{key}" for name, module in linear_attentions(model).items() for key in module.new_state()}


def start_from(model: nn.Module, path: str, softmax: bool = False) -> None:
    """Copy the weights of a checkpoint into the model, all but those that linear attention adds.

    With `softmax` the checkpoint's attention must be softmax wherever the model's is linear.

    Logs what was copied, what is new and what was left over: the maps of linear attention where the model has softmax
    attention, and copies that fairseq 0.12.2 keeps of some weights. Raises UserError for weights that are not finite,
    and one that lists every other difference: a weight missing, left over or of another shape.
    """
    pretrained = load_model(path)
    if softmax:
        _refuse_linear(pretrained, model, path)
    found, wanted = pretrained.state_dict(), model.state_dict()
    require_finite(found, path)
    left_over = [*drop_fast_path_copies(found), *_maps_without_use(pretrained, model)]
    found = {name: tensor for name, tensor in found.items() if name not in left_over}
    new = {name for name in new_weights(model) if name not in found}
    wrong = shape_mismatches(found, {name: tensor for name, tensor in wanted.items() if name not in new})
    if wrong:
        if _other_vocabulary(found, wanted):
            wrong.insert(0, "the dictionary is not the one that it was trained with")
        raise UserError(f"--pretrained {path}: does not fit the model: {'; '.join(wrong)}")
    model.load_state_dict({**found, **{name: wanted[name] for name in new}}, strict=True)
    logger.info(f"{path}: copied {len(found)} tensors, {_numbers(found):,} numbers; left over: {left_over or 'none'}")
    logger.info(f"new: {len(new)} tensors, {_numbers({name: wanted[name] for name in new}):,} numbers: {sorted(new)}")


def _maps_without_use(pretrained: nn.Module, model: nn.Module) -> List[str]:
    """Names of what linear attention of `pretrained` adds where the model has softmax attention."""
    linear = linear_attentions(model)
    return [
        f"{name}.{key}"
        for name, module in linear_attentions(pretrained).items()
        if name not in linear
        for key in module.new_state()
    ]


def _refuse_linear(pretrained: nn.Module, model: nn.Module, path: str) -> None:
    linear = [name for name in linear_attentions(pretrained) if name in linear_attentions(model)]
    if linear:
        raise UserError(
            f"--pretrained {path}: has linear attention itself, at {', '.join(linear)}, and so no softmax attention"
            " to transfer; give the checkpoint that it was converted from"
        )


def _other_vocabulary(found: Dict[str, Tensor], wanted: Dict[str, Tensor]) -> bool:
    tables = [name for name in found if ".embed_tokens." in name and name in wanted]
    return any(found[name].size(0) != wanted[name].size(0) for name in tables)


def _numbers(state: Dict[str, Tensor]) -> int:
    return sum(tensor.numel() for tensor in state.values())
