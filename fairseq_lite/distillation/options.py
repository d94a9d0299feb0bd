"""What to learn from a teacher, as options."""

import re
from dataclasses import dataclass, field
from typing import List, Optional, Tuple

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
    distillation_layers: Optional[str] = field(
        default=None,
        metadata={
            "help": "pairs STUDENT:TEACHER of encoder layers, from 0, whose hidden states are compared, as in 0:1,1:3"
        },
    )
    distillation_layers_weight: float = field(
        default=1.0,
        metadata={"help": "weight v of the layers: v times the mean squared error of each pair is added to the loss"},
    )


def teacher_paths(options: DistillationOptions) -> List[str]:
    """The paths of --teacher; raises UserError if there is none, or an empty one."""
    paths = split_paths(options.teacher or "")
    if not all(paths):
        given = f"--teacher {options.teacher}" if options.teacher else "--teacher: not given"
        raise UserError(f"{given}; give a checkpoint of the same task and dictionaries, or several as in PATH:PATH")
    return paths


def layer_pairs(options: DistillationOptions) -> List[Tuple[int, int]]:
    """The pairs (student, teacher) of --distillation-layers, none at a weight of 0; raises UserError for other text."""
    text = options.distillation_layers
    if text is None:
        return []
    if not re.fullmatch(r"\d+:\d+(,\d+:\d+)*", text):
        raise UserError(f"--distillation-layers {text}: must be pairs STUDENT:TEACHER of layers, as in 0:1,1:3")
    pairs = [(int(student), int(teacher)) for student, teacher in re.findall(r"(\d+):(\d+)", text)]
    if len(set(pairs)) < len(pairs):
        raise UserError(f"--distillation-layers {text}: names a pair twice; raise --distillation-layers-weight instead")
    return pairs if options.distillation_layers_weight else []


def check(options: DistillationOptions) -> None:
    """Raise UserError for options that are missing or out of range."""
    paths, pairs = teacher_paths(options), layer_pairs(options)
    if pairs and len(paths) > 1:
        raise UserError(f"--distillation-layers {options.distillation_layers}: needs one teacher, not {len(paths)}")
    if not 0 <= options.distillation_layers_weight < float("inf"):
        weight = options.distillation_layers_weight
        raise UserError(f"--distillation-layers-weight {weight:g}: must be at least 0 and finite; 0 leaves layers out")
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
