"""Hidden states of encoder layers, a student's against a teacher's.

Romero et al., 2015, https://arxiv.org/abs/1412.6550; Sun et al., 2019, https://arxiv.org/abs/1908.09355.
"""

from __future__ import annotations

from contextlib import contextmanager
from functools import partial
from typing import Any, Dict, Iterator, List, Sequence, Tuple

import torch
import torch.nn as nn
import torch.nn.functional as F
from fairseq.models import BaseFairseqModel
from torch import Tensor

from fairseq_lite.errors import ArgumentError, UserError

# The hidden states of the student and of the teacher, [T, B, C] by the number of the layer.
States = Tuple[Dict[int, Tensor], Dict[int, Tensor]]


def _encoder(model: BaseFairseqModel) -> Any:
    """A model's encoder, which roberta keeps one level deeper; None if it has none."""
    encoder = getattr(model, "encoder", None)
    return getattr(encoder, "sentence_encoder", encoder)


@contextmanager
def watched(model: BaseFairseqModel, numbers: Sequence[int]) -> Iterator[Dict[int, Tensor]]:
    """Within, a forward pass of the model leaves in the dict what its encoder's layers give, [T, B, C] by number."""
    states: Dict[int, Tensor] = {}

    def keep(number, layer, inputs, output):
        states[number] = output[0] if isinstance(output, tuple) else output

    layers = _encoder(model).layers
    hooks = [layers[number].register_forward_hook(partial(keep, number)) for number in set(numbers)]
    try:
        yield states
    finally:
        for hook in hooks:
            hook.remove()


class LayerMatching(nn.Module):
    """The mean squared error of a student's hidden states from a teacher's, of pairs of encoder layers.

    Where the widths differ, a linear layer without bias for each pair, which trains with the student, makes the
    student's states as wide as the teacher's (Romero et al., 2015, arXiv 1412.6550; Sun et al., 2019, 1908.09355).

    Args:
        pairs: numbers of encoder layers, from 0, the student's and the teacher's
        student, teacher: models of fairseq's or of this plugin's, with encoders

    Raises UserError for layers that are not there, ArgumentError for no pairs.

    Examples:
        >>> import torch
        >>> from fairseq_lite import LayerMatching, build_architecture
        >>> teacher = build_architecture("transformer_tiny")
        >>> student = build_architecture("transformer_tiny", "--encoder-layers 1")
        >>> matching = LayerMatching([(0, 1)], student, teacher)
        >>> source, length = torch.tensor([[4, 5, 6, 2]]), torch.tensor([4])
        >>> with matching.watching(student, teacher) as (own, other):
        ...     encoded = [model.encoder(source, length) for model in (student, teacher)]
        >>> matching(own, other, there=source.ne(1)).shape
        torch.Size([])
    """

    def __init__(self, pairs: Sequence[Tuple[int, int]], student: BaseFairseqModel, teacher: BaseFairseqModel):
        super().__init__()
        if not pairs:
            raise ArgumentError("pairs", "", "there is none; give at least one, as [(0, 1)]")
        self.students, self.teachers = zip(*pairs)
        _check_layers(pairs, "student", student, self.students)
        _check_layers(pairs, "teacher", teacher, self.teachers)
        narrow, wide = (_encoder(model).embed_tokens.embedding_dim for model in (student, teacher))
        named = [] if narrow == wide else [f"{own}:{other}" for own, other in pairs]
        generator = torch.Generator().manual_seed(1)
        self.projections = nn.ModuleDict({name: _projection(narrow, wide, generator) for name in named})

    @contextmanager
    def watching(self, student: BaseFairseqModel, teacher: BaseFairseqModel) -> Iterator[States]:
        """Within, a forward pass of each model leaves the states that `forward` compares."""
        with watched(student, self.students) as own, watched(teacher, self.teachers) as other:
            yield own, other

    def forward(self, student: Dict[int, Tensor], teacher: Dict[int, Tensor], there: Tensor) -> Tensor:
        """The error, a mean over tokens and channels, summed over the pairs.

        student, teacher: [T, B, C] by number; there: [B, T], where there is no padding.
        """
        errors: List[Tensor] = []
        for own, other in zip(self.students, self.teachers):
            states, wanted = student[own][there.t()], teacher[other][there.t()]
            if self.projections:
                states = self.projections[f"{own}:{other}"](states)
            errors.append(F.mse_loss(states.float(), wanted.float()))
        return torch.stack(errors).sum()


def _check_layers(pairs: Sequence[Tuple[int, int]], side: str, model: BaseFairseqModel, numbers: Sequence[int]) -> None:
    given = "--distillation-layers " + ",".join(f"{own}:{other}" for own, other in pairs)
    layers = getattr(_encoder(model), "layers", ())
    if len(layers) == 0:
        raise UserError(f"{given}: the {side} has no encoder of layers; leave the option out")
    if max(numbers) >= len(layers):
        raise UserError(f"{given}: the {side}'s encoder has no layer {max(numbers)}, but 0 to {len(layers) - 1}")
    if side == "student" and getattr(layers, "p", 0) > 0:
        raise UserError(f"{given}: needs every layer at every update; leave out --encoder-layerdrop")


def _projection(narrow: int, wide: int, generator: torch.Generator) -> nn.Linear:
    """A linear layer from one width to another whose values leave the training's random numbers as they are."""
    projection = nn.utils.skip_init(nn.Linear, narrow, wide, bias=False)
    with torch.no_grad():
        projection.weight.normal_(0, narrow**-0.5, generator=generator)
    return projection
