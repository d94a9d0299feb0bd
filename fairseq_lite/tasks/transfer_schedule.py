"""The learning rate of a training whose first updates transfer attention."""

from __future__ import annotations

from typing import Optional

from fairseq.optim.lr_scheduler import FairseqLRScheduler

from fairseq_lite.tasks.transfer_options import TransferStage


class TransferSchedule(FairseqLRScheduler):
    """A constant learning rate without weight decay in a transfer stage, then `schedule` from its first update.

    `schedule` is the user's, on the optimizer that it was built with, and its state is all the state there is. At the
    end of the stage the optimizer loses what it remembers of the gradients. Epochs are counted from the first of all.
    """

    def __init__(self, schedule: FairseqLRScheduler, stage: TransferStage):
        super().__init__(None, schedule.optimizer)
        self.schedule = schedule
        self.stage = stage
        self.in_stage = True
        self.epoch: Optional[int] = None
        self.first_lr = self.optimizer.get_lr()
        self.weight_decays = [group.get("weight_decay") for group in self._groups()]
        self.step_update(0)

    def _groups(self):
        return self.optimizer.optimizer.param_groups

    def state_dict(self):
        return self.schedule.state_dict()

    def load_state_dict(self, state_dict):
        self.schedule.load_state_dict(state_dict)

    def step_begin_epoch(self, epoch):
        self.epoch = epoch
        return self.stage.lr if self.in_stage else self.schedule.step_begin_epoch(epoch)

    def step(self, epoch, val_loss=None):
        return self.stage.lr if self.in_stage else self.schedule.step(epoch, val_loss)

    def step_update(self, num_updates):
        """The learning rate of the update that follows `num_updates`, set together with the weight decay."""
        # The update that ends the stage, or a checkpoint of that moment, not one of later.
        ends = self.in_stage and num_updates == self.stage.updates
        self.in_stage = num_updates < self.stage.updates
        self._set_weight_decay()
        if self.in_stage:
            self.optimizer.set_lr(self.stage.lr)
            return self.stage.lr
        if ends:
            self._begin_schedule()
        return self.schedule.step_update(num_updates - self.stage.updates)

    def _begin_schedule(self) -> None:
        self.optimizer.optimizer.state.clear()
        self.optimizer.set_lr(self.first_lr)
        if self.epoch is not None:
            self.schedule.step_begin_epoch(self.epoch)

    def _set_weight_decay(self) -> None:
        # Always, because an optimizer that was loaded has that of the checkpoint.
        for group, weight_decay in zip(self._groups(), self.weight_decays):
            if weight_decay is not None:
                group["weight_decay"] = 0.0 if self.in_stage else weight_decay
