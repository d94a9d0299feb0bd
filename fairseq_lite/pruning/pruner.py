"""Pruning of a model while it trains."""

from __future__ import annotations

import logging
from functools import partial
from typing import Dict, Optional

import torch.nn as nn
from torch import Tensor

from fairseq_lite.pruning.importance import IMPORTANCES
from fairseq_lite.pruning.masks import Masks
from fairseq_lite.pruning.neurons import prunable_layers
from fairseq_lite.pruning.options import PruningOptions, check
from fairseq_lite.pruning.plan import chosen_groups, pools, schedule

logger = logging.getLogger(__name__)


class Pruner:
    """Masks the neurons of a model on a schedule (Molchanov et al., 2019, arXiv 1906.10771, made structured).

    Masked rows are set to zero before each forward pass and whenever the model's state is saved, and have no
    gradient. So a checkpoint needs nothing of this package, and which neurons are pruned can be read off its weights.
    The criterions `..._with_pruning` do all this in fairseq-train.

    Args:
        model: of fairseq's layers, or of any whose linear layers have their names
        options: what to prune, and when
        updates: those done; what the schedule has pruned in them is in the weights, else it is made up for

    Raises UserError for options that do not fit together, and for components that the model has not.

    Examples:
        >>> import torch
        >>> from fairseq_lite import Pruner, PruningOptions, build_architecture
        >>> model = build_architecture("lite_transformer_lm_tiny")
        >>> pruner = Pruner(model, PruningOptions(pruning_target=0.5, pruning_end=4, pruning_steps=2))
        >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        >>> for update in range(1, 6):
        ...     optimizer.zero_grad()
        ...     pruner.before_forward(update)
        ...     loss = model(torch.randint(4, 1000, (2, 8)))[0].logsumexp(-1).mean()
        ...     loss.backward()
        ...     optimizer.step()
        >>> round(pruner.masks.sparsity["all"], 2)
        0.5
    """

    def __init__(self, model: nn.Module, options: PruningOptions, updates: int = 0):
        check(options)
        self.groups = chosen_groups(options, prunable_layers(model))
        self.pools = pools(options, self.groups)
        self.schedule = schedule(options)
        self.importance = IMPORTANCES[str(options.pruning_importance)](self.groups)
        self.masks = Masks(self.groups)
        self.steps_done = self._steps_in_the_weights(updates)
        self.collecting = False
        # A function and no method, which a copy of the model would copy with the pruner and all its masks.
        self._hook = lambda _, state, prefix, *rest: self._zero_in_state(state, prefix)
        self._watch(model)

    def _steps_in_the_weights(self, updates: int) -> int:
        steps = self.schedule.steps_due(updates) if updates else 0
        return steps if self.masks.have_reached(self.pools, self.schedule.fraction(steps)) else 0

    def _watch(self, model: nn.Module) -> None:
        for number, group in enumerate(self.groups):
            for parameter in group.parameters:
                if parameter.requires_grad:
                    parameter.register_hook(partial(self._see_gradient, number, parameter))
        names = {id(parameter): name for name, parameter in model.named_parameters()}
        self._names = [[names[id(parameter)] for parameter in group.parameters] for group in self.groups]
        self.keep_zero_in(model)

    def keep_zero_in(self, model: nn.Module) -> None:
        """Let the model, or a moving average of it, have what is pruned as zeros whenever its state is asked for."""
        if not any(hook is self._hook for hook in model._state_dict_hooks.values()):
            # torch has a public name for it from 2.5 on only.
            model._register_state_dict_hook(self._hook)

    def _zero_in_state(self, state: Dict[str, Tensor], prefix: str) -> None:
        """Zero what is pruned in a state dict, whose tensors are the weights: so the weights become zero too."""
        for number in self.masks.touched:
            group, units = self.groups[number], self.masks.pruned[number]
            for name in self._names[number]:
                tensor = state[prefix + name]
                tensor.masked_fill_(group.expand(units, tensor), 0.0)

    def _see_gradient(self, number: int, parameter: Tensor, gradient: Tensor) -> Tensor:
        if self.collecting:
            self.importance.add(number, parameter, gradient)
        return self.masks.mask_gradient(number, parameter, gradient)

    def before_forward(self, update: int) -> None:
        """Prune if a step is due in an update, which count from 1, and hold what is pruned at zero."""
        due = self.schedule.steps_due(update)
        if due > self.steps_done:
            self._prune(due, update)
        self.masks.apply()
        waiting = due > self.steps_done
        self.collecting = self.importance.needs_gradients and (waiting or self.schedule.collects(update))

    def _prune(self, steps: int, update: int) -> None:
        scores = self.importance.scores()
        if scores is None:
            return
        self.masks.extend(scores, self.pools, self.schedule.fraction(steps))
        self.importance.restart()
        self.steps_done = steps
        logger.info(f"pruning step {steps}/{self.schedule.steps} in update {update}: {self._progress()}")

    def _progress(self) -> str:
        return ", ".join(f"{component} {part:.1%}" for component, part in self.masks.sparsity.items())

    def target(self) -> float:
        """The part of all neurons that is wanted by now."""
        sizes = [
            sum(self.groups[n].count * self.groups[n].neurons_per_unit for n in pool.numbers) for pool in self.pools
        ]
        wanted = sum(size * pool.target for size, pool in zip(sizes, self.pools)) / sum(sizes)
        return wanted * self.schedule.fraction(self.steps_done)

    def see_loss(self, loss: Tensor) -> None:
        """Watch the scale at which the loss is differentiated."""
        if self.collecting:
            loss.register_hook(self.importance.see_loss)

    def state_dict(self) -> Dict[str, Tensor]:
        """What was collected since the last step."""
        return self.importance.state_dict()

    def load_state_dict(self, state: Optional[Dict[str, Tensor]]) -> None:
        """Go on from what was collected, None for nothing."""
        if state:
            self.importance.load_state_dict(state)
