"""fairseq's criterions with a teacher beside the labels: NAME_with_distillation has all options of NAME."""

from __future__ import annotations

import math
from typing import Any, Tuple

import torch
import torch.nn as nn
from fairseq.logging import metrics
from fairseq.models import BaseFairseqModel
from torch import Tensor

from fairseq_lite.criterions.extension import register_extended, unwrapped
from fairseq_lite.distillation.losses import distance_from
from fairseq_lite.distillation.options import DistillationOptions, check, teacher_paths
from fairseq_lite.distillation.teachers import Student, load_teachers
from fairseq_lite.errors import ArgumentError, UserError


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

    The loss is (1 - w) base + w T^2 KL(teacher || student), summed over the predictions (Hinton et al., 2015).
    """

    distillation: DistillationOptions
    # in a tuple: a module that holds another one saves and trains its weights too
    _teachers: Tuple[BaseFairseqModel, ...] = ()

    @classmethod
    def build_criterion(cls, cfg, task):
        """The criterion with the options of distillation; raises UserError for options out of range."""
        check(cfg)
        if getattr(cfg, "regression_target", False):
            raise UserError("--regression-target: predicts no probabilities, which a teacher could teach; leave it out")
        criterion = super().build_criterion(cfg, task)
        criterion.distillation = cfg
        criterion._load_before_training(task)
        return criterion

    def _load_before_training(self, task) -> None:
        """Read the teacher before the first update; fairseq-validate, which begins no epoch, needs none."""
        begin_epoch = task.begin_epoch

        def begin(epoch, model):
            self._teachers_of(model)
            return begin_epoch(epoch, model)

        task.begin_epoch = begin

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
        options = self.distillation
        if not model.training or options.distillation_weight == 0:
            return super().forward(model, sample, reduce=reduce)
        if not reduce:
            raise ArgumentError("reduce", reduce, "a teacher's part is only there as a sum; leave it at True")
        call = Recorded(model)
        loss, sample_size, logging_output = super().forward(call, sample, reduce=True)
        distance, count = self._distance(call, sample)
        logging_output.update(distillation_loss=distance.data, distillation_count=count)
        weight = options.distillation_weight
        return (1 - weight) * loss + weight * distance, sample_size, logging_output

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
        """What the base reports, and the teacher's part in bits for each prediction."""
        super().reduce_metrics(logging_outputs)
        count = sum(log.get("distillation_count", 0) for log in logging_outputs)
        if count > 0:
            total = sum(log.get("distillation_loss", 0) for log in logging_outputs)
            metrics.log_scalar("distillation_loss", float(total) / float(count) / math.log(2), float(count), round=3)


for _name in DISTILLABLE_CRITERIONS:
    register_extended(_name, "with_distillation", DistillationMixin, DistillationOptions)
