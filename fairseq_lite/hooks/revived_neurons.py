"""Pruned neurons that come back where a model trains without its masks."""

from __future__ import annotations

import functools
import logging
from typing import Tuple

import torch.nn as nn
from fairseq.criterions import FairseqCriterion
from fairseq.models import BaseFairseqModel
from fairseq.trainer import Trainer

from fairseq_lite.pruning.neurons import prunable_layers
from fairseq_lite.pruning.units import zero_rows

logger = logging.getLogger(__name__)


def zero_neurons(model: nn.Module) -> Tuple[int, int]:
    """How many neurons of a model are zero, and how many it has that can be pruned."""
    zero = [zero_rows(layer.linear.weight, layer.linear.bias) for layer in prunable_layers(model)]
    return sum(int(rows.sum()) for rows in zero), sum(len(rows) for rows in zero)


def warn_of_revived_neurons() -> None:
    """Let the first update of a training say whether it brings back neurons that were pruned.

    Any task and criterion may train a masked model, so it is the trainer that looks.
    """
    train_step = Trainer.train_step

    @functools.wraps(train_step)
    def watch(trainer, *args, **kwargs):
        if hasattr(trainer, "_looked_for_revived_neurons"):
            return train_step(trainer, *args, **kwargs)
        trainer._looked_for_revived_neurons = True
        before, whole = zero_neurons(_model_of(trainer))
        result = train_step(trainer, *args, **kwargs)
        after = zero_neurons(_model_of(trainer))[0] if before else 0
        if after < before and not _keeps_masks(trainer.get_criterion()):
            logger.warning(
                f"pruned neurons come back: {before / whole:.1%} were zero before update {trainer.get_num_updates()}, "
                f"{after / whole:.1%} are after it; to keep them pruned, train with the criterion "
                "..._with_pruning and --pruning-target 0"
            )
        return result

    Trainer.train_step = watch


def _model_of(trainer: Trainer) -> BaseFairseqModel:
    return next(module for module in trainer.model.modules() if isinstance(module, BaseFairseqModel))


def _keeps_masks(criterion: FairseqCriterion) -> bool:
    """Whether it holds pruned neurons at zero: between updates an optimizer may fill them in, as momentum does."""
    return getattr(criterion, "pruner", None) is not None
