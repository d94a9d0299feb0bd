"""Quantisation-aware training, mixed into a task."""

from dataclasses import dataclass, field
from typing import Optional

import torch.nn as nn
from fairseq.dataclass import ChoiceEnum, FairseqDataclass

from fairseq_lite.compression.quantisers import QUANTISERS
from fairseq_lite.compression.scheme import Scheme
from fairseq_lite.compression.training import TRAINERS
from fairseq_lite.errors import UserError, blame_options

QuantizeMethodChoice = ChoiceEnum(list(QUANTISERS))
DEFAULT_METHOD = Scheme().method


@dataclass
class QuantizeOptions(FairseqDataclass):
    """What quantisation-aware training adds to a task."""

    quantize_finetune: Optional[int] = field(
        default=None,
        metadata={"help": "train for `fairseq-lite compress --bits N`: weights are quantised to N bits in every pass"},
    )
    quantize_method: Optional[QuantizeMethodChoice] = field(
        default=None,
        metadata={"help": f"with --quantize-finetune: the --method of compress (default: {DEFAULT_METHOD})"},
    )


class QuantizeMixin:
    """Trains with weights that --quantize-finetune quantises; the weights saved are plain, and compress to the same.

    The trainer is made in the first pass, when weights are loaded, be it by --pretrained, by --finetune-from-model or
    on resuming.
    """

    _quantised_training = None

    def build_model(self, cfg, from_checkpoint=False):
        bits, method = self.options.quantize_finetune, self.options.quantize_method
        if bits is None and method is not None and not from_checkpoint:
            raise UserError(f"--quantize-method {method}: has no effect without --quantize-finetune N; give both")
        self._scheme()
        return super().build_model(cfg, from_checkpoint)

    def _scheme(self) -> Optional[Scheme]:
        """The compression that the options train for, if any; raises UserError for values that make none."""
        if self.options.quantize_finetune is None:
            return None
        with blame_options(bits="--quantize-finetune", method="--quantize-method"):
            return Scheme(self.options.quantize_finetune, str(self.options.quantize_method or DEFAULT_METHOD))

    def quantised_training(self, model: nn.Module):
        """What quantises the model that is trained; None without --quantize-finetune."""
        scheme = self._scheme()
        if self._quantised_training is None and scheme is not None:
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
