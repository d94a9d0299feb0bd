"""fairseq's criterions with structured pruning on top: NAME_with_pruning has all options of NAME."""

from __future__ import annotations

from dataclasses import make_dataclass
from typing import Any, Dict, Optional

from fairseq.criterions import CRITERION_DATACLASS_REGISTRY, CRITERION_REGISTRY, FairseqCriterion, register_criterion
from fairseq.logging import metrics
from fairseq.models import BaseFairseqModel

from fairseq_lite.errors import UserError
from fairseq_lite.pruning.options import PruningOptions, check
from fairseq_lite.pruning.pruner import Pruner

PRUNABLE_CRITERIONS = ("label_smoothed_cross_entropy", "cross_entropy", "adaptive_loss", "sentence_prediction")


def updates_done() -> int:
    """The trainer's count of updates, which a criterion is not told."""
    # among the active ones: on resuming, fairseq loads old values into others that it then leaves alone
    counts = [meters["num_updates"].val or 0 for meters in metrics.get_active_aggregators() if "num_updates" in meters]
    return int(max(counts, default=0))


class PruningMixin:
    """Prunes the model that it is called with, and reports the sparsity beside what the criterion reports."""

    pruning: PruningOptions
    pruner: Optional[Pruner] = None
    _saved: Optional[Dict[str, Any]] = None

    @classmethod
    def build_criterion(cls, cfg, task):
        check(cfg)
        criterion = super().build_criterion(cfg, task)
        criterion.pruning = cfg
        criterion._save_with(task)
        return criterion

    def _save_with(self, task) -> None:
        """Let the task's checkpoints hold what was collected, for a resumed run to go on from."""
        name = type(task).__name__
        task.get_checkpoint_dict = lambda: {name: self.pruner.state_dict() if self.pruner else {}}
        task.set_checkpoint_dict = lambda saved: setattr(self, "_saved", saved)

    def _pruner_of(self, model) -> Pruner:
        if self.pruner is None:
            unwrapped = next(module for module in model.modules() if isinstance(module, BaseFairseqModel))
            self.pruner = Pruner(unwrapped, self.pruning, updates_done())
            self.pruner.load_state_dict(self._saved)
        return self.pruner

    def forward(self, model, sample, reduce=True):
        """The criterion's own loss, sample size and logging output, the latter with the sparsity."""
        if self.pruner is None and not model.training:
            # only validation: what is pruned is zero or gone
            return super().forward(model, sample, reduce=reduce)
        pruner = self._pruner_of(model)
        if model.training:
            pruner.before_forward(updates_done() + 1)
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


def _without_base(name: str) -> type:
    """Stands for a criterion that this fairseq has no base of."""

    class Missing(FairseqCriterion):
        @classmethod
        def build_criterion(cls, cfg, task):
            raise UserError(f"--criterion {name}_with_pruning: the installed fairseq has no criterion {name}")

    return Missing


def _register(name: str) -> None:
    if name not in CRITERION_REGISTRY:
        register_criterion(f"{name}_with_pruning", dataclass=PruningOptions)(_without_base(name))
        return
    base, options = CRITERION_REGISTRY[name], CRITERION_DATACLASS_REGISTRY[name]
    criterion = type(f"{base.__name__}WithPruning", (PruningMixin, base), {})
    config = make_dataclass(f"{options.__name__}WithPruning", [], bases=(PruningOptions, options))
    register_criterion(f"{name}_with_pruning", dataclass=config)(criterion)


for _name in PRUNABLE_CRITERIONS:
    _register(_name)
