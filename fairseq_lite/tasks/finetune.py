"""fairseq's tasks, started from a checkpoint: with softmax attention swapped, or weights trained to be quantised."""

import argparse
from dataclasses import dataclass, field
from typing import List, Optional

import torch.nn as nn
from fairseq.dataclass import ChoiceEnum, FairseqDataclass
from fairseq.tasks import register_task
from fairseq.tasks.language_modeling import LanguageModelingConfig, LanguageModelingTask
from fairseq.tasks.translation import TranslationConfig, TranslationTask

from fairseq_lite.errors import UserError
from fairseq_lite.modules import LinearAttention
from fairseq_lite.tasks.attention_transfer import TransferMixin
from fairseq_lite.tasks.inherited_options import take_options_unless_given, take_options_while_parsing
from fairseq_lite.tasks.pretrained import new_weights, start_from
from fairseq_lite.tasks.quantize import QuantizeMixin, QuantizeOptions
from fairseq_lite.tasks.transfer_options import TransferOptions

TRAINABLE = ChoiceEnum(["all", "attention", "feature-maps"])


@dataclass
class FinetuneOptions(FairseqDataclass):
    """What finetuning adds to a task."""

    pretrained: Optional[str] = field(
        default=None,
        metadata={
            "help": "checkpoint of the same model with softmax attention, from whose weights training starts;"
            " sizes that are not given are those of the checkpoint"
        },
    )
    pretrained_options_taken: bool = field(default=False, metadata={"help": argparse.SUPPRESS})
    train_only: TRAINABLE = field(
        default="all", metadata={"help": "train all weights, those of linear attention, or its feature maps alone"}
    )
    unfreeze_at: Optional[int] = field(
        default=None, metadata={"help": "with --train-only: train all weights from this update on (default: never)"}
    )


def trainable_parameters(model: nn.Module, which: str) -> List[nn.Parameter]:
    """The parameters that --train-only names; raises UserError if the model has none of them."""
    if which == "all":
        return list(model.parameters())
    if which == "attention":
        modules = [module for module in model.modules() if isinstance(module, LinearAttention)]
        chosen = [parameter for module in modules for parameter in module.parameters()]
    else:
        new = new_weights(model)
        chosen = [parameter for name, parameter in model.named_parameters() if name in new]
    if not chosen:
        raise UserError(f"--train-only {which}: the model has no such weights; choose another or an --arch that has")
    return chosen


class FinetuneMixin:
    """Starts from --pretrained and trains what --train-only says.

    The weights left out keep their gradients from the optimizer rather than from autograd: so they are in its state
    from the first update on, and resuming, --update-freq and data-parallel training work as ever.
    """

    @property
    def options(self) -> FinetuneOptions:
        """The task's options, which fairseq's language modelling keeps under another name."""
        return self.cfg or self.args

    @classmethod
    def add_args(cls, parser):
        super().add_args(parser)
        take_options_while_parsing(parser)

    def build_model(self, cfg, from_checkpoint=False):
        starts = not from_checkpoint and self.options.pretrained is not None
        if starts and not self.options.pretrained_options_taken:
            take_options_unless_given(cfg, self.options.pretrained)
        model = super().build_model(cfg, from_checkpoint)
        if not from_checkpoint:
            self._check_freezing(model)
            if starts:
                self._start(model)
        return model

    def _start(self, model: nn.Module) -> None:
        start_from(model, self.options.pretrained)

    def _check_freezing(self, model: nn.Module) -> None:
        trainable_parameters(model, str(self.options.train_only))
        if self.options.unfreeze_at is None:
            return
        if str(self.options.train_only) == "all":
            raise UserError(f"--unfreeze-at {self.options.unfreeze_at}: nothing is frozen; give --train-only too")
        if self.options.unfreeze_at < 0:
            raise UserError(f"--unfreeze-at {self.options.unfreeze_at}: must be at least 0")

    def trained_at(self, update_num: int) -> str:
        """Which weights an update trains, as --train-only names them."""
        end = self.options.unfreeze_at
        return "all" if end is not None and update_num >= end else str(self.options.train_only)

    def _drop_frozen_gradients(self, model: nn.Module, update_num: int) -> None:
        which = self.trained_at(update_num)
        if which == "all":
            return
        trainable = set(trainable_parameters(model, which))
        for parameter in model.parameters():
            if parameter not in trainable:
                parameter.grad = None

    def train_step(self, sample, model, criterion, optimizer, update_num, ignore_grad=False):
        result = super().train_step(sample, model, criterion, optimizer, update_num, ignore_grad)
        self._drop_frozen_gradients(model, update_num)
        return result

    def optimizer_step(self, optimizer, model, update_num):
        # Again, because legacy_ddp fills gradients that are not there with zeros, which weight decay would act on.
        self._drop_frozen_gradients(model, update_num)
        super().optimizer_step(optimizer, model, update_num)


@dataclass
class FinetuneTranslationConfig(FinetuneOptions, TransferOptions, QuantizeOptions, TranslationConfig):
    pass


@dataclass
class FinetuneLanguageModelingConfig(FinetuneOptions, TransferOptions, QuantizeOptions, LanguageModelingConfig):
    pass


@register_task("finetune_translation", dataclass=FinetuneTranslationConfig)
class FinetuneTranslationTask(TransferMixin, FinetuneMixin, QuantizeMixin, TranslationTask):
    """Translation, started from a checkpoint."""


@register_task("finetune_language_modeling", dataclass=FinetuneLanguageModelingConfig)
class FinetuneLanguageModelingTask(TransferMixin, FinetuneMixin, QuantizeMixin, LanguageModelingTask):
    """Language modelling, started from a checkpoint."""
