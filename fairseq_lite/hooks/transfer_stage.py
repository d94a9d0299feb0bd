"""The optimization of a training whose first updates transfer attention, which only the trainer has in its hands."""

from __future__ import annotations

import functools

from fairseq.trainer import Trainer

from fairseq_lite.errors import UserError
from fairseq_lite.tasks.transfer_schedule import TransferSchedule


def schedule_transfer_stage() -> None:
    """Put a TransferSchedule around the learning rate's schedule of a task that has a transfer stage."""
    build_optimizer = Trainer._build_optimizer

    @functools.wraps(build_optimizer)
    def build(trainer):
        build_optimizer(trainer)
        stage = getattr(trainer.task, "transfer_stage", None)
        if stage is None:
            return
        most = trainer.cfg.optimization.max_update
        if 0 < most < stage.updates:
            raise UserError(f"--transfer-updates {stage.updates}: must be at most --max-update {most}")
        trainer._lr_scheduler = TransferSchedule(trainer._lr_scheduler, stage)

    Trainer._build_optimizer = build


def leave_transfer_unclipped() -> None:
    """Clip no gradient in a transfer stage."""
    clip_grad_norm = Trainer.clip_grad_norm

    @functools.wraps(clip_grad_norm)
    def clip(trainer, clip_norm):
        schedule = trainer._lr_scheduler
        in_stage = isinstance(schedule, TransferSchedule) and schedule.in_stage
        return clip_grad_norm(trainer, 0.0 if in_stage else clip_norm)

    Trainer.clip_grad_norm = clip
