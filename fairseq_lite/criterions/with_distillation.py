"""fairseq's criterions with a teacher beside the labels: NAME_with_distillation has all options of NAME."""

from __future__ import annotations

import logging
import math
from contextlib import nullcontext
from typing import Any, Optional, Tuple

import torch
import torch.nn as nn
from fairseq.logging import metrics
from fairseq.models import BaseFairseqModel
from torch import Tensor

from fairseq_lite.checkpoints import shape_mismatches
from fairseq_lite.criterions.extension import register_extended, unwrapped
from fairseq_lite.distillation.layers import LayerMatching, States
from fairseq_lite.distillation.losses import distance_from
from fairseq_lite.distillation.options import DistillationOptions, check, layer_pairs, teacher_paths
from fairseq_lite.distillation.teachers import Student, load_teachers, place_beside
from fairseq_lite.errors import ArgumentError, UserError

logger = logging.getLogger(__name__)


class Recorded:
    """Stands for a model in one step of a criterion, and keeps how it was called and what it gave."""

    def __init__(self, model: nn.Module):
        self._model = model

    def __call__(self, *args, **kwargs):
        self.args, self.kwargs = args, kwargs
        self.output = self._model(*args, **kwargs)
        return self.output

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def repeated(self, model: nn.Module) -> Any:
        """What another model gives for the same call."""
        return model(*self.args, **self.kwargs)


DISTILLABLE_CRITERIONS = (
    "label_smoothed_cross_entropy",
    "cross_entropy",
    "adaptive_loss",
    "masked_lm",
    "sentence_prediction",
)


class DistillationMixin:
    """Adds the distance from a teacher's predictions to the loss of training; validation is the base's.

    The loss is (1 - w) base + w T^2 KL(teacher || student), summed over the predictions (Hinton et al., 2015). To each
    prediction the error of the hidden states of --distillation-layers is added.
    """

    distillation: DistillationOptions
    # A module once the student is known: its weights train and are saved with the criterion.
    matching: Optional[LayerMatching]
    # in a tuple: a module that holds another one saves and trains its weights too
    _teachers: Tuple[BaseFairseqModel, ...] = ()

    @classmethod
    def build_criterion(cls, cfg, task):
        """The criterion with the options of distillation; raises UserError for options out of range."""
        check(cfg)
        if getattr(cfg, "regression_target", False):
            raise UserError("--regression-target: predicts no probabilities, which a teacher could teach; leave it out")
        criterion = super().build_criterion(cfg, task)
        criterion.distillation, criterion.matching = cfg, None
        criterion._load_before_training(task)
        return criterion

    def _load_before_training(self, task) -> None:
        """Read the teacher before the first update; fairseq-validate, which begins no epoch, needs none."""
        begin_epoch = task.begin_epoch

        def begin(epoch, model):
            place_beside(unwrapped(model), self._teachers_of(model))
            return begin_epoch(epoch, model)

        task.begin_epoch = begin

    def meet(self, model: nn.Module) -> None:
        """Make what trains beside the model, before the trainer asks for parameters.

        Raises UserError for a teacher that does not fit, and for layers that it or the model has not.
        """
        pairs = layer_pairs(self.distillation)
        if pairs:
            (teacher,) = self._teachers_of(model)
            self.matching = LayerMatching(pairs, unwrapped(model), teacher)

    def load_state_dict(self, state_dict, strict=True):
        """Take the projections of a checkpoint; one that has none, as it was trained without, leaves them new.

        Raises UserError for projections of other layers or widths.
        """
        if state_dict is None:
            return logger.info("--distillation-layers: the checkpoint has no projections; they start anew")
        wrong = shape_mismatches(state_dict, self.state_dict())
        if wrong:
            given = self.distillation.distillation_layers
            raise UserError(
                f"--distillation-layers {given}: the checkpoint was trained with others ({'; '.join(wrong)}); give"
                " them, or start from what fairseq-lite take-layers or average makes of it"
            )
        return super().load_state_dict(state_dict, strict)

    def _teachers_of(self, model: nn.Module) -> Tuple[BaseFairseqModel, ...]:
        if not self._teachers:
            head = getattr(self, "classification_head_name", None)
            student = Student(unwrapped(model), self.task.max_positions(), head)
            teachers = load_teachers(teacher_paths(self.distillation), student)
            self._check_top_k(student)
            self._teachers = tuple(teachers)
        return self._teachers

    def _check_top_k(self, student: Student) -> None:
        top_k, outputs = self.distillation.distillation_top_k, student.outputs()
        if top_k is not None and top_k > outputs:
            raise UserError(f"--distillation-top-k {top_k}: the model knows {outputs} words or classes; give fewer")

    def forward(self, model, sample, reduce=True):
        """The loss with the teacher's part, the base's sample size and logging output, and the teacher's part alone.

        While the model is evaluated it is the base's own.
        """
        weight = self.distillation.distillation_weight
        if not model.training or weight == 0 and not layer_pairs(self.distillation):
            return super().forward(model, sample, reduce=reduce)
        if not reduce:
            raise ArgumentError("reduce", reduce, "a teacher's part is only there as a sum; leave it at True")
        call = Recorded(model)
        with self._watching(model) as states:
            loss, sample_size, logging_output = super().forward(call, sample, reduce=True)
            distance, count = self._distance(call, sample)
        logging_output.update(distillation_loss=distance.data, distillation_count=count)
        loss = (1 - weight) * loss + weight * distance
        if states is not None:
            error = sample_size * self._layers_error(unwrapped(model), states, sample)
            logging_output["distillation_layers_loss"] = error.data
            loss = loss + self.distillation.distillation_layers_weight * error
        return loss, sample_size, logging_output

    def _watching(self, model: nn.Module):
        """A context of the hidden states that are to match; of None if none are."""
        if not layer_pairs(self.distillation):
            return nullcontext()
        (teacher,) = self._teachers_of(model)
        return self.matching.watching(unwrapped(model), teacher)

    def _layers_error(self, model: BaseFairseqModel, states: States, sample) -> Tensor:
        return self.matching(*states, sample["net_input"]["src_tokens"].ne(model.encoder.dictionary.pad()))

    def _distance(self, call: Recorded, sample) -> Tuple[Tensor, int]:
        """T^2 KL(teacher || student) and the number of predictions that it is the sum over."""

        def rows(output):
            return self._predictions_in(output[0], call, sample["target"])

        with torch.no_grad():
            teachers = [(teacher, rows(call.repeated(teacher))) for teacher in self._teachers_of(call)]
        student = rows(call.output)
        options = self.distillation
        temperature, top_k = options.distillation_temperature, options.distillation_top_k
        return distance_from(teachers, (call, student), temperature, top_k), len(student)

    def _predictions_in(self, output: Tensor, call: Recorded, target: Tensor) -> Tensor:
        """The rows, [N, V or C], that stand for a target: not those of padding, nor of --ignore-prefix-size.

        output: [B, T, V or C], [M, V] of the masked positions alone, or [B, V] of whole sentences.
        """
        if "classification_head_name" in call.kwargs:
            return output
        masked = call.kwargs.get("masked_tokens")
        if masked is not None:
            return output[target[masked].ne(self.padding_idx)]
        counted = target.ne(self.padding_idx)
        counted[:, : getattr(self, "ignore_prefix_size", 0)] = False
        return output[counted]

    @classmethod
    def reduce_metrics(cls, logging_outputs) -> None:
        """What the base reports, the teacher's part in bits for each prediction, and the error of the layers."""
        super().reduce_metrics(logging_outputs)
        count = sum(log.get("distillation_count", 0) for log in logging_outputs)
        if count > 0:
            total = sum(log.get("distillation_loss", 0) for log in logging_outputs)
            metrics.log_scalar("distillation_loss", float(total) / float(count) / math.log(2), float(count), round=3)
        if any("distillation_layers_loss" in log for log in logging_outputs):
            size = float(sum(log["sample_size"] for log in logging_outputs))
            error = float(sum(log["distillation_layers_loss"] for log in logging_outputs))
            metrics.log_scalar("distillation_layers_loss", error / size, size, round=5)


for _name in DISTILLABLE_CRITERIONS:
    register_extended(_name, "with_distillation", DistillationMixin, DistillationOptions)
