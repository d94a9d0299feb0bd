"""A smaller model of some layers of a trained one, for a student to start from (DistilBERT, arXiv 1910.01108)."""

from __future__ import annotations

import contextlib
import copy
import json
from typing import Any, Dict, List, Sequence

from omegaconf import OmegaConf, open_dict

from fairseq_lite.checkpoints import (
    UNNAMED,
    Checkpoint,
    model_of,
    model_options,
    new_checkpoint,
    with_model_options,
)
from fairseq_lite.errors import ArgumentError
from fairseq_lite.models.kept_layers import layer_numbers, only_layers, settle_side


def take_layers(checkpoint: Checkpoint, layers: Dict[str, Sequence[int]], path: str = UNNAMED) -> Checkpoint:
    """A checkpoint of some layers, numbered from 0, and of all that belongs to no layer, as if no training had begun.

    A student of distillation starts from it (DistilBERT, arXiv 1910.01108).

    Args:
        checkpoint: of a Transformer, a language model or a roberta; it stays as it is
        layers: the numbers to take of "encoder" and "decoder", rising; a side that is not named keeps all
        path: what errors call the checkpoint

    Raises ArgumentError for layers that are not there, and UserError for a model that cannot be read.

    Examples:
        >>> from fairseq_lite import model_of, read_checkpoint, take_layers
        >>> half = take_layers(read_checkpoint("checkpoint.pt"), {"encoder": [0], "decoder": [1]})
        >>> len(model_of(half).encoder.layers)
        1
    """
    options, state = copy.deepcopy(model_options(checkpoint, path)), dict(checkpoint["model"])
    with open_dict(options) if OmegaConf.is_config(options) else contextlib.nullcontext():
        for side, numbers in layers.items():
            count = len(layer_numbers(state, side))
            _check(side, numbers, count, path)
            # Options of a model that kept some layers itself may still count those that it was made of.
            setattr(options, f"{side}_layers", count)
            settle_side(options, side, list(numbers))
            _settle_what_names_weights(options, side, list(numbers))
            state = only_layers(state, side, list(numbers))
    taken = new_checkpoint(with_model_options(checkpoint["cfg"], options), state)
    model_of(taken, path)
    return taken


def _check(side: str, numbers: Sequence[int], count: int, path: str) -> None:
    if count == 0:
        raise ArgumentError(side, _listed(numbers), f"{path} has no such layers; leave the option out")
    if not numbers or list(numbers) != sorted(set(numbers)) or not 0 <= numbers[0] <= numbers[-1] < count:
        problem = f"{path} has layers 0 to {count - 1}; name some of them, each once, in rising order"
        raise ArgumentError(side, _listed(numbers), problem)


def _listed(numbers: Sequence[int]) -> str:
    return ",".join(map(str, numbers))


def _settle_what_names_weights(options: Any, side: str, numbers: List[int]) -> None:
    """Renumber the layers in a shrunk model's widths and the decoder layer that aligns words."""
    widths = getattr(options, "pruned_widths", None)
    if widths:
        options.pruned_widths = json.dumps(only_layers(json.loads(widths), side, numbers))
    aligning = getattr(options, "alignment_layer", None)
    if side == "decoder" and aligning is not None:
        if aligning not in numbers:
            raise ArgumentError(side, _listed(numbers), f"the model aligns words by layer {aligning}; take it too")
        options.alignment_layer = numbers.index(aligning)
