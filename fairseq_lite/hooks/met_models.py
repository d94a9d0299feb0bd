"""A criterion that trains weights beside the model learns of the model in time."""

from __future__ import annotations

import functools

from fairseq.trainer import Trainer


def let_criterions_meet_models() -> None:
    """Call a criterion's `meet(model)`, where it has that, before the trainer looks for the criterion's parameters."""
    initialise = Trainer.__init__

    @functools.wraps(initialise)
    def meet_and_initialise(trainer, cfg, task, model, criterion, *args, **named):
        if hasattr(criterion, "meet"):
            criterion.meet(model)
        initialise(trainer, cfg, task, model, criterion, *args, **named)

    Trainer.__init__ = meet_and_initialise
