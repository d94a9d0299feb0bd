"""Models to learn from: read from checkpoints, checked against the student, run as the student was."""

from __future__ import annotations

from typing import List, NamedTuple, Optional, Sequence, Tuple

from fairseq.models import BaseFairseqModel, FairseqEncoderDecoderModel, FairseqEncoderModel, FairseqLanguageModel
from fairseq.utils import resolve_max_positions

from fairseq_lite.checkpoints import load_model, vocabulary_size
from fairseq_lite.errors import UserError


class Kind(NamedTuple):
    """Models that can teach each other, and the options of the lengths that they take."""

    name: str
    lengths: Tuple[str, ...]


KINDS = {
    FairseqEncoderDecoderModel: Kind("an encoder-decoder", ("--max-source-positions", "--max-target-positions")),
    FairseqLanguageModel: Kind("a language model", ("--max-target-positions",)),
    FairseqEncoderModel: Kind("an encoder alone", ("--max-positions",)),
}


class Student(NamedTuple):
    """What a teacher must fit: the model, the lengths that its task takes, and the head of its classes, if it has one.

    task_positions: as fairseq gives them, None, a length or those of source and target.
    """

    model: BaseFairseqModel
    task_positions: object
    head: Optional[str] = None

    def outputs(self) -> int:
        """How many words or classes it predicts one of."""
        return _classes(self.model, self.head) if self.head else _output_words(self.model)


def load_teachers(paths: Sequence[str], student: Student) -> List[BaseFairseqModel]:
    """The models of checkpoints, without gradients, in evaluation mode, on the student's device and of its precision.

    Raises UserError that names the checkpoint which does not fit the student.
    """
    teachers = [_load(path, student) for path in paths]
    place_beside(student.model, teachers)
    return teachers


def place_beside(student: BaseFairseqModel, teachers: Sequence[BaseFairseqModel]) -> None:
    """Bring teachers to the student's device and precision, in place."""
    weight = next(student.parameters())
    for teacher in teachers:
        teacher.to(weight.device, weight.dtype)


def _load(path: str, student: Student) -> BaseFairseqModel:
    try:
        teacher = load_model(path)
    except UserError as error:
        raise UserError(f"--teacher {error}") from error
    for find in (_other_kind, _other_classes if student.head else _other_words, _too_short):
        fault = find(teacher, student)
        if fault:
            raise UserError(f"--teacher {path}: {fault}")
    return teacher.requires_grad_(False)


def _kind(model: BaseFairseqModel) -> Optional[Kind]:
    return next((kind for base, kind in KINDS.items() if isinstance(model, base)), None)


def _other_kind(teacher: BaseFairseqModel, student: Student) -> Optional[str]:
    kinds = [_kind(teacher), _kind(student.model)]
    names = [kind.name if kind else "a model of several parts" for kind in kinds]
    if None in kinds:
        return f"is {names[0]}, the student {names[1]}; both must be {', '.join(kind.name for kind in KINDS.values())}"
    return None if kinds[0] == kinds[1] else f"is {names[0]}, the student {names[1]}; give a teacher of the same task"


def _words(model: BaseFairseqModel, side: str) -> int:
    return vocabulary_size(model.state_dict(), side)


def _output_words(model: BaseFairseqModel) -> int:
    return _words(model, "decoder" if hasattr(model, "decoder") else "encoder")


def _other_words(teacher: BaseFairseqModel, student: Student) -> Optional[str]:
    for side, name in (("encoder", "source"), ("decoder", "target")):
        known, needed = _words(teacher, side), _words(student.model, side)
        if known != needed:
            return f"has {known} {name} words, the student {needed}; give a teacher of the same dictionaries"
    return None


def _classes(model: BaseFairseqModel, head: Optional[str]) -> int:
    heads = getattr(model, "classification_heads", {})
    return heads[head].out_proj.weight.size(0) if head in heads else 0


def _other_classes(teacher: BaseFairseqModel, student: Student) -> Optional[str]:
    known, needed = _classes(teacher, student.head), _classes(student.model, student.head)
    if known == needed:
        return _other_words(teacher, student)
    return f"has {known} classes in {student.head}, the student {needed}; give a teacher of the same labels"


def _too_short(teacher: BaseFairseqModel, student: Student) -> Optional[str]:
    kind = _kind(teacher)
    options = kind.lengths if kind else ()
    longest = resolve_max_positions(student.task_positions, student.model.max_positions())
    for option, known, needed in zip(options, _lengths(teacher.max_positions()), _lengths(longest)):
        if known < needed:
            return f"takes {known} positions and training goes up to {needed}; give {option} {known}"
    return None


def _lengths(positions) -> Sequence[float]:
    lengths = positions if isinstance(positions, (tuple, list)) else [positions]
    return [float("inf") if length is None else length for length in lengths]
