"""fairseq's criterions with structured pruning on top: NAME_with_pruning has all options of NAME."""

from __future__ import annotations

from typing import Any, Dict, Optional, Tuple

import torch.nn as nn
from fairseq.logging import metrics

from fairseq_lite.criterions.extension import register_extended, unwrapped
from fairseq_lite.criterions.with_distillation import DISTILLABLE_CRITERIONS
from fairseq_lite.models.pruned import check_prunable
from fairseq_lite.pruning.neurons import prunable_layers
from fairseq_lite.pruning.options import PruningOptions, check
from fairseq_lite.pruning.plan import chosen_groups
from fairseq_lite.pruning.pruner import Pruner

PRUNABLE_CRITERIONS = (
    "label_smoothed_cross_entropy",
    "label_smoothed_cross_entropy_with_alignment",
    "cross_entropy",
    "adaptive_loss",
    "masked_lm",
    "sentence_prediction",
    *(f"{name}_with_distillation" for name in DISTILLABLE_CRITERIONS),
)


class PruningMixin:
    """Prunes the model that it is called with, and reports the sparsity beside what the criterion reports."""

    pruning: PruningOptions
    pruner: Optional[Pruner] = None
    # in a tuple: a module that holds another one saves its weights too
    _trained: Tuple[nn.Module, ...] = ()
    _updates = 0
    _saved: Optional[Dict[str, Any]] = None

    @classmethod
    def build_criterion(cls, cfg, task):
        """The criterion with the options of pruning; raises UserError for options that do not fit together."""
        check(cfg)
        criterion = super().build_criterion(cfg, task)
        criterion.pruning = cfg
        criterion._follow_training(task)
        criterion._save_with(task)
        return criterion

    def _follow_training(self, task) -> None:
        """Learn of each update, of the whole model and of its moving average, none of which a criterion is given."""
        begin_epoch, train_step, valid_step = task.begin_epoch, task.train_step, task.valid_step
        wants_average = getattr(task, "uses_ema", False)

        def begin(epoch, model):
            # Before the first update, in which fairseq would save the model that it crashed with.
            self._check_model(model)
            return begin_epoch(epoch, model)

        def train(sample, model, criterion, optimizer, update_num, ignore_grad=False, **average):
            self._trained, self._updates = (model,), update_num
            if average.get("ema_model") is not None:
                self._pruner_of(model).keep_zero_in(average["ema_model"])
            given = average if wants_average else {}
            return train_step(sample, model, criterion, optimizer, update_num, ignore_grad, **given)

        def validate(sample, model, criterion, **average):
            return valid_step(sample, model, criterion, **(average if wants_average else {}))

        task.begin_epoch, task.train_step, task.valid_step, task.uses_ema = begin, train, validate, True

    def _check_model(self, model: nn.Module) -> None:
        """Raise UserError for a model that cannot be pruned, or has none of a component that the options name."""
        check_prunable(unwrapped(model))
        chosen_groups(self.pruning, prunable_layers(unwrapped(model)))

    def _save_with(self, task) -> None:
        """Let the task's checkpoints hold what was collected, beside what they hold anyway, for a run to resume."""
        name = type(task).__name__
        get_own, set_own = getattr(task, "get_checkpoint_dict", dict), getattr(task, "set_checkpoint_dict", None)

        def get_both():
            own = get_own()
            return {**own, name: {"task": own.get(name), "pruning": self.pruner.state_dict() if self.pruner else {}}}

        def set_both(saved):
            # without our key it is of a training without such a criterion
            own, self._saved = (saved["task"], saved["pruning"]) if "pruning" in saved else (saved, None)
            if set_own is not None and own is not None:
                set_own(own)

        task.get_checkpoint_dict, task.set_checkpoint_dict = get_both, set_both

    def _pruner_of(self, model: nn.Module) -> Pruner:
        if self.pruner is None:
            # A multilingual task calls its criterion with a part of the model that it trains.
            (whole,) = self._trained or (model,)
            self.pruner = Pruner(unwrapped(whole), self.pruning, self._updates)
            self.pruner.load_state_dict(self._saved)
        return self.pruner

    def forward(self, model, sample, reduce=True):
        """The criterion's own loss, sample size and logging output, the latter with the sparsity."""
        if self.pruner is None and not model.training:
            # only validation: what is pruned is zero or gone
            return super().forward(model, sample, reduce=reduce)
        pruner = self._pruner_of(model)
        if model.training:
            pruner.before_forward(self._updates + 1)
        else:
            pruner.masks.apply()
        loss, sample_size, logging_output = super().forward(model, sample, reduce=reduce)
        if loss.requires_grad:
            pruner.see_loss(loss)
        logging_output.update(sparsity_reports=1, sparsity_target=pruner.target())
        for component, part in pruner.masks.sparsity.items():
            logging_output[f"sparsity_{component}"] = part
        return loss, sample_size, logging_output

    @classmethod
    def reduce_metrics(cls, logging_outputs) -> None:
        super().reduce_metrics(logging_outputs)
        reports = sum(log.get("sparsity_reports", 0) for log in logging_outputs)
        names = {name: None for log in logging_outputs for name in log if name.startswith("sparsity_")}
        for name in names:
            if name != "sparsity_reports":
                mean = sum(log.get(name, 0) for log in logging_outputs) / reports
                metrics.log_scalar(name, float(mean), weight=0, round=3)


for _name in PRUNABLE_CRITERIONS:
    register_extended(_name, "with_pruning", PruningMixin, PruningOptions)
