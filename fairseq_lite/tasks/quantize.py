"""Quantisation-aware training, mixed into a task."""

from dataclasses import dataclass, field
from typing import Optional

import torch.nn as nn
from fairseq.dataclass import ChoiceEnum, FairseqDataclass

from fairseq_lite.compression.tensors import METHODS, Scheme
from fairseq_lite.compression.training import TRAINERS
from fairseq_lite.errors import UserError


@dataclass
class QuantizeOptions(FairseqDataclass):
    """What quantisation-aware training adds to a task."""

    quantize_finetune: Optional[int] = field(
        default=None,
        metadata={"help": "train for `fairseq-lite compress --bits N`: weights are quantised to N bits in every pass"},
    )
    quantize_method: ChoiceEnum(METHODS) = field(
        default="kmeans", metadata={"help": "with --quantize-finetune: the --method of compress"}
    )


class QuantizeMixin:
    """Trains with weights that --quantize-finetune quantises; the weights saved are plain, and compress to the same.

    The trainer is made in the first pass, when weights are loaded, be it by --pretrained, by --finetune-from-model or
    on resuming.
    """

    _quantised_training = None

    def build_model(self, cfg, from_checkpoint=False):
        bits = self.options.quantize_finetune
        if bits is not None and not 2 <= bits <= 8:
            raise UserError(f"--quantize-finetune {bits}: must be 2 to 8")
        return super().build_model(cfg, from_checkpoint)

    def quantised_training(self, model: nn.Module):
        """What quantises the model that is trained; None without --quantize-finetune."""
        if self._quantised_training is None and self.options.quantize_finetune is not None:
            scheme = Scheme(self.options.quantize_finetune, str(self.options.quantize_method))
            self._quantised_training = TRAINERS[scheme.method](model, scheme)
        return self._quantised_training

    def train_step(self, sample, model, criterion, optimizer, update_num, ignore_grad=False):
        training = self.quantised_training(model)
        if training is None:
            return super().train_step(sample, model, criterion, optimizer, update_num, ignore_grad)
        with training.quantised():
            result = super().train_step(sample, model, criterion, optimizer, update_num, ignore_grad)
        training.share_gradients()
        return result

    def valid_step(self, sample, model, criterion, *args, **kwargs):
        training = self.quantised_training(model)
        if training is None:
            return super().valid_step(sample, model, criterion, *args, **kwargs)
        with training.quantised():
            return super().valid_step(sample, model, criterion, *args, **kwargs)

    def optimizer_step(self, optimizer, model, update_num):
        super().optimizer_step(optimizer, model, update_num)
        training = self.quantised_training(model)
        if training is not None:
            training.project()
