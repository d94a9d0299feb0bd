"""Registers what a mixin makes of fairseq's criterions: NAME_SUFFIX has all options of NAME, and the mixin's."""

from __future__ import annotations

import sys
from dataclasses import make_dataclass

import torch.nn as nn
from fairseq.criterions import CRITERION_DATACLASS_REGISTRY, CRITERION_REGISTRY, FairseqCriterion, register_criterion
from fairseq.models import BaseFairseqModel

from fairseq_lite.errors import UserError


def unwrapped(model: nn.Module) -> BaseFairseqModel:
    """The model inside the wrappers of data-parallel training."""
    return next(module for module in model.modules() if isinstance(module, BaseFairseqModel))


def _without_base(name: str, suffix: str) -> type:
    """Stands for a criterion that this fairseq has no base of."""

    class Missing(FairseqCriterion):
        @classmethod
        def build_criterion(cls, cfg, task):
            raise UserError(f"--criterion {name}_{suffix}: the installed fairseq has no criterion {name}")

    return Missing


def register_extended(name: str, suffix: str, mixin: type, options: type) -> None:
    """Register the criterion `name` with the mixin before it, as NAME_SUFFIX.

    suffix: as in with_pruning; options: the dataclass of the options that the mixin adds.
    """
    if name not in CRITERION_REGISTRY:
        register_criterion(f"{name}_{suffix}", dataclass=options)(_without_base(name, suffix))
        return
    base, base_options = CRITERION_REGISTRY[name], CRITERION_DATACLASS_REGISTRY[name]
    ending = suffix.title().replace("_", "")
    criterion = type(f"{base.__name__}{ending}", (mixin, base), {})
    config = make_dataclass(f"{base_options.__name__}{ending}", [], bases=(options, base_options))
    for made in (criterion, config):
        # Where pickle looks for them.
        made.__module__ = mixin.__module__
        setattr(sys.modules[mixin.__module__], made.__name__, made)
    register_criterion(f"{name}_{suffix}", dataclass=config)(criterion)
