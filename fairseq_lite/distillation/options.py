"""What to learn from a teacher, as options."""

from dataclasses import dataclass, field
from typing import List, Optional

from fairseq.dataclass import FairseqDataclass
from fairseq.utils import split_paths

from fairseq_lite.errors import UserError


@dataclass
class DistillationOptions(FairseqDataclass):
    """What distillation adds to a criterion."""

    teacher: Optional[str] = field(
        default=None, metadata={"help": "checkpoint to learn from; of several, PATH:PATH, the mean probability"}
    )
    distillation_weight: float = field(
        default=0.5, metadata={"help": "weight w of the teacher: the loss is (1 - w) base + w T^2 KL(teacher, student)"}
    )
    distillation_temperature: float = field(
        default=1.0, metadata={"help": "temperature T that the scores of both sides are divided by"}
    )
    distillation_top_k: Optional[int] = field(
        default=None,
        metadata={"help": "compare the teacher's K most probable words alone (default: the whole vocabulary)"},
    )


def teacher_paths(options: DistillationOptions) -> List[str]:
    """The paths of --teacher; raises UserError if there is none, or an empty one."""
    paths = split_paths(options.teacher or "")
    if not all(paths):
        given = f"--teacher {options.teacher}" if options.teacher else "--teacher: not given"
        raise UserError(f"{given}; give a checkpoint of the same task and dictionaries, or several as in PATH:PATH")
    return paths


def check(options: DistillationOptions) -> None:
    """Raise UserError for options that are missing or out of range."""
    teacher_paths(options)
    weight, temperature, top_k = (
        options.distillation_weight,
        options.distillation_temperature,
        options.distillation_top_k,
    )
    if not 0 <= weight <= 1:
        raise UserError(f"--distillation-weight {weight:g}: must lie between 0 and 1")
    if not 0 < temperature < float("inf"):
        raise UserError(f"--distillation-temperature {temperature:g}: must be above 0 and finite; 1 changes nothing")
    if top_k is not None and top_k < 1:
        raise UserError(f"--distillation-top-k {top_k}: must be at least 1; leave it out for the whole vocabulary")
