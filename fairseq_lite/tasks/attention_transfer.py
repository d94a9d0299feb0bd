"""Attention transfer, mixed into a finetuning: feature maps learn the softmax attention that they take the place of."""

from contextlib import contextmanager
from typing import Any, Dict, Iterator, Optional, Tuple

import torch
import torch.nn as nn
from fairseq.distributed import utils as distributed_utils
from fairseq.logging import metrics
from fairseq.models import BaseFairseqModel
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from fairseq_lite.modules.attention_transfer import AttentionTransfer, softmax_in_place
from fairseq_lite.tasks.pretrained import new_weights, start_from
from fairseq_lite.tasks.transfer_options import (
    DEFAULT_LR,
    TransferStage,
    check_can_transfer,
    check_transfer_options,
)


def base_model(model: nn.Module) -> BaseFairseqModel:
    """The model within what distributed training wraps around it."""
    return next(module for module in model.modules() if isinstance(module, BaseFairseqModel))


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Within, a model that trains runs without dropout."""
    model.eval()
    try:
        yield
    finally:
        model.train()


class AttentionDistance:
    """The distance of linear attention from softmax attention over a batch, in the place of a criterion.

    That of every sublayer is summed over the tokens that are trained on; an encoder's, whose queries are others, is the
    mean over a sentence's source times its tokens. `padding_idx` is the dictionary's.
    """

    def __init__(self, measure: str, padding_idx: int):
        self.measure = measure
        self.padding_idx = padding_idx

    def __call__(self, model: nn.Module, sample: Dict[str, Any]) -> Tuple[Tensor, int, Dict[str, Any]]:
        """The loss, what it is divided by, and what is logged, as a criterion returns them."""
        net_input = sample["net_input"]
        source = net_input["src_tokens"].ne(self.padding_idx)
        target = net_input.get("prev_output_tokens", net_input["src_tokens"]).ne(self.padding_idx)
        model = base_model(model)

        def measuring(linear):
            return AttentionTransfer(linear, self.measure)

        with evaluating(model), softmax_in_place(model, make=measuring) as sublayers:
            with torch.no_grad():
                model(**net_input, features_only=True)
            loss = sum(self.over_tokens(sublayer, source, target) for sublayer in sublayers.values())
        sizes = {"ntokens": sample["ntokens"], "nsentences": len(target), "sample_size": sample["ntokens"]}
        return loss, sample["ntokens"], {"loss": loss.detach(), "distance": loss.detach(), **sizes}

    @staticmethod
    def over_tokens(sublayer: AttentionTransfer, source: Tensor, target: Tensor) -> Tensor:
        """The distance of a sublayer's last pass; source: [B, S] and target: [B, T], true for tokens."""
        linear, distance = sublayer.linear, sublayer.distance
        if linear.causal or linear.encoder_decoder_attention:
            return distance.masked_fill(~target, 0.0).sum()
        tokens_a_query = target.sum(1) / source.sum(1).clamp(min=1)
        return (distance.masked_fill(~source, 0.0).sum(1) * tokens_a_query).sum()

    @staticmethod
    def reduce_metrics(logging_outputs) -> None:
        """Log the mean distance a token, under its own name and as the loss."""
        sample_size = sum(log["sample_size"] for log in logging_outputs) or 1
        for name in ("loss", "distance"):
            metrics.log_scalar(name, sum(log[name] for log in logging_outputs) / sample_size, sample_size, round=3)


class TransferMixin:
    """Trains feature maps by --attention-transfer, in the first --transfer-updates or all; before a FinetuneMixin.

    Validation is the criterion's all the time.
    """

    @property
    def transfer_stage(self) -> Optional[TransferStage]:
        """The updates that transfer, if others follow."""
        if self.options.transfer_updates is None:
            return None
        return TransferStage(self.options.transfer_updates, self.options.transfer_lr or DEFAULT_LR)

    def transfers_at(self, update_num: int) -> bool:
        """Whether an update transfers; updates count from 0."""
        stage = self.transfer_stage
        return self.options.attention_transfer is not None and (stage is None or update_num < stage.updates)

    def build_model(self, cfg, from_checkpoint=False):
        if not from_checkpoint:
            check_transfer_options(self.options)
        model = super().build_model(cfg, from_checkpoint)
        if not from_checkpoint and self.options.attention_transfer is not None:
            check_can_transfer(model, str(self.options.attention_transfer))
        return model

    def _start(self, model: nn.Module) -> None:
        start_from(model, self.options.pretrained, softmax=self.options.attention_transfer is not None)

    def trained_at(self, update_num: int) -> str:
        return "feature-maps" if self.transfers_at(update_num) else super().trained_at(update_num)

    def _distance(self) -> AttentionDistance:
        return AttentionDistance(str(self.options.attention_transfer), self.source_dictionary.pad())

    def train_step(self, sample, model, criterion, optimizer, update_num, ignore_grad=False):
        if not self.transfers_at(update_num):
            return super().train_step(sample, model, criterion, optimizer, update_num, ignore_grad)
        result = super().train_step(sample, model, self._distance(), optimizer, update_num, ignore_grad)
        average_gradients(model)
        return result

    def reduce_metrics(self, logging_outputs, criterion):
        transferred = any("distance" in log for log in logging_outputs)
        super().reduce_metrics(logging_outputs, self._distance() if transferred else criterion)


def average_gradients(model: nn.Module) -> None:
    """Average the gradients of what linear attention adds over the workers of DistributedDataParallel.

    It reduces those of a pass through itself only, and transfer runs the model within; averages stay as they are.
    """
    if not any(isinstance(module, DistributedDataParallel) for module in model.modules()):
        return
    workers, group = distributed_utils.get_data_parallel_world_size(), distributed_utils.get_data_parallel_group()
    new = new_weights(model)
    for name, parameter in model.named_parameters():
        if name in new and parameter.grad is not None:
            distributed_utils.all_reduce(parameter.grad.div_(workers), group)
