"""The options of attention transfer, and what they ask of each other and of the model."""

from dataclasses import dataclass, field
from typing import NamedTuple, Optional

import torch.nn as nn
from fairseq.dataclass import ChoiceEnum, FairseqDataclass

from fairseq_lite.errors import UserError
from fairseq_lite.modules import FEATURE_MAPS
from fairseq_lite.modules.attention_transfer import DISTANCES, linear_attentions

DistanceChoice = ChoiceEnum(list(DISTANCES))
DEFAULT_LR = 0.01


@dataclass
class TransferOptions(FairseqDataclass):
    """What attention transfer adds to a task."""

    attention_transfer: Optional[DistanceChoice] = field(
        default=None,
        metadata={
            "help": "train feature maps alone, to come close to softmax attention of the same frozen weights, by the"
            " KL divergence of attention weights (kl) or the relative squared error of heads' outputs (mse)"
        },
    )
    transfer_updates: Optional[int] = field(
        default=None,
        metadata={
            "help": "with --attention-transfer: end it after this many updates, and finetune from there with a fresh"
            " optimizer and the learning rate's schedule from its start (default: all updates)"
        },
    )
    transfer_lr: Optional[float] = field(
        default=None,
        metadata={"help": f"with --transfer-updates: learning rate up to then (default: {DEFAULT_LR})"},
    )


class TransferStage(NamedTuple):
    """The first updates of a training, with a learning rate of their own."""

    updates: int
    lr: float


def check_transfer_options(options) -> None:
    """Raise UserError for options of a task that do not fit together, the model aside."""
    transfer, updates, lr = options.attention_transfer, options.transfer_updates, options.transfer_lr
    if transfer is None:
        given = {"--transfer-updates": updates, "--transfer-lr": lr}
        for flag, value in given.items():
            if value is not None:
                raise UserError(f"{flag} {value}: has no effect without --attention-transfer kl or mse; give both")
        return
    chosen = f"--attention-transfer {transfer}"
    if options.pretrained is None:
        raise UserError(f"{chosen}: needs the weights of softmax attention; give --pretrained CHECKPOINT too")
    if options.quantize_finetune is not None:
        raise UserError(f"{chosen}: not possible with --quantize-finetune; transfer first, then quantise")
    if updates is None:
        _check_one_stage(options, chosen)
    else:
        _check_two_stages(options)


def _check_one_stage(options, chosen: str) -> None:
    idle = {"--transfer-lr": options.transfer_lr, "--unfreeze-at": options.unfreeze_at}
    if str(options.train_only) == "attention":
        idle["--train-only"] = "attention"
    for flag, value in idle.items():
        if value is not None:
            raise UserError(f"{flag} {value}: {chosen} trains feature maps to the end; give --transfer-updates N too")


def _check_two_stages(options) -> None:
    updates, lr, unfreeze_at = options.transfer_updates, options.transfer_lr, options.unfreeze_at
    if updates < 1:
        raise UserError(f"--transfer-updates {updates}: must be at least 1")
    if lr is not None and not 0 < lr < float("inf"):
        raise UserError(f"--transfer-lr {lr}: must be a number above 0")
    if unfreeze_at is not None and unfreeze_at < updates:
        raise UserError(
            f"--unfreeze-at {unfreeze_at}: must be at least --transfer-updates {updates}, for it counts all"
        )


def check_can_transfer(model: nn.Module, transfer: str) -> None:
    """Raise UserError for a model without linear attention, or one whose feature maps have nothing to learn."""
    linear = linear_attentions(model)
    if not linear:
        raise UserError(
            f"--attention-transfer {transfer}: the model has no linear attention; choose an --arch that has"
        )
    fixed = [name for name, module in linear.items() if not list(module.feature_map.parameters())]
    if fixed:
        learned = ", ".join(name for name in FEATURE_MAPS if name != "elu")
        raise UserError(
            f"--attention-transfer {transfer}: the feature map of {', '.join(fixed)} has nothing to learn; take"
            f" one of {learned}"
        )
