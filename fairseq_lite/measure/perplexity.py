"""Perplexity of a model on a part of its data, as fairseq-validate computes it."""

from __future__ import annotations

import os
from argparse import Namespace
from typing import Tuple

import torch
from fairseq import checkpoint_utils, utils
from fairseq.logging import metrics
from fairseq.models import BaseFairseqModel
from fairseq.tasks import FairseqTask

from fairseq_lite.errors import ArgumentError, UserError


class ValidationSet:
    """Batches of one subset of the data, and the criterion that scores a model on them; on the model's device."""

    def __init__(self, task: FairseqTask, criterion: torch.nn.Module, batches: list):
        self.task = task
        self.criterion = criterion.eval()
        self.batches = batches

    def perplexity(self, model: torch.nn.Module) -> float:
        """The perplexity of a model in evaluation mode, without label smoothing."""
        outputs = [self.task.valid_step(batch, model, self.criterion)[2] for batch in self.batches]
        with metrics.aggregate(new_root=True) as meters:
            self.task.reduce_metrics(outputs, self.criterion)
        # In bits a token; a criterion whose loss is that logs no other.
        name = "nll_loss" if "nll_loss" in meters else "loss"
        return float(2 ** meters[name].avg)


def _loaded(path: str, data: str) -> Tuple[BaseFairseqModel, Namespace, FairseqTask]:
    """The model of a checkpoint, its options and its task on this data; it translates nothing to score it."""
    missing = [folder for folder in utils.split_paths(data) if not os.path.isdir(folder)]
    if missing:
        raise UserError(f"{missing[0]}: no such folder; give the data that fairseq-preprocess wrote")
    overrides = {"data": data, "eval_bleu": False}
    (model,), cfg, task = checkpoint_utils.load_model_ensemble_and_task([path], arg_overrides=overrides)
    if not getattr(cfg, "criterion", None):
        raise UserError(f"{path}: names no criterion; give a checkpoint that fairseq-train wrote")
    return model.eval(), cfg, task


def load_for_validation(path: str, data: str, subset: str, max_tokens: int) -> Tuple[BaseFairseqModel, ValidationSet]:
    """The model of a checkpoint with a subset of the data, in batches of `max_tokens`; on the GPU if there is one.

    Raises UserError for a folder or a checkpoint that is not there, ArgumentError for a subset that is not and for
    too small a batch.
    """
    model, cfg, task = _loaded(path, data)
    try:
        task.load_dataset(subset, combine=False, epoch=1, task_cfg=cfg.task)
    except FileNotFoundError:
        raise ArgumentError("subset", subset, f"{data} holds no such subset") from None
    positions = utils.resolve_max_positions(task.max_positions(), model.max_positions())
    try:
        iterator = task.get_batch_iterator(task.dataset(subset), max_tokens=max_tokens, max_positions=positions)
        batches = list(iterator.next_epoch_itr(shuffle=False))
    except AssertionError:
        raise ArgumentError("max_tokens", max_tokens, f"a sentence of {subset} is longer; give more") from None
    if torch.cuda.is_available():
        model, batches = model.cuda(), [utils.move_to_cuda(batch) for batch in batches]
    return model, ValidationSet(task, task.build_criterion(cfg.criterion), batches)
