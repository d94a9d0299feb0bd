"""The distance of a student's predictions from a teacher's."""

from __future__ import annotations

import math
from typing import List, Optional, Sequence, Tuple

import torch
import torch.nn as nn
import torch.nn.functional as F
from fairseq.modules import AdaptiveSoftmax
from torch import Tensor

# Words of as many predictions as are compared at once. All of a large vocabulary would go through memory a dozen times;
# these stay in a processor's cache.
ENTRIES = 2**22
# A model, and what it gave for N predictions, as log_probabilities takes it.
Predictions = Tuple[nn.Module, Tensor]


def log_probabilities(model: nn.Module, output: Tensor) -> Tensor:
    """Logarithms of the probabilities of all words, in single precision: [N, V].

    Args:
        model: whose adaptive softmax counts, if it has one
        output: [N, V] logits, or [N, C] features that the model's adaptive softmax makes words of

    Examples:
        >>> import torch
        >>> from fairseq_lite import build_architecture
        >>> from fairseq_lite.distillation import log_probabilities
        >>> model = build_architecture("lite_transformer_lm_tiny", vocab_size=100)
        >>> logits, _ = model(torch.tensor([[2, 4, 5]]))
        >>> log_probabilities(model, logits.flatten(0, 1)).shape
        torch.Size([3, 100])
    """
    softmax = _adaptive_softmax(model)
    return F.log_softmax(output.float(), dim=-1) if softmax is None else _whole(*_parts(softmax, output))


def _adaptive_softmax(model: nn.Module) -> Optional[AdaptiveSoftmax]:
    return getattr(getattr(model, "decoder", None), "adaptive_softmax", None)


def _words(model: nn.Module, output: Tensor) -> int:
    softmax = _adaptive_softmax(model)
    return output.size(1) if softmax is None else softmax.cutoff[-1]


def _parts(softmax: AdaptiveSoftmax, features: Tensor) -> List[Tensor]:
    """Log-probabilities of the frequent words and the clusters, then of each cluster's words within it."""
    features = softmax.dropout_module(features)
    return [F.log_softmax(part(features).float(), dim=-1) for part in (softmax.head, *softmax.tail)]


def _whole(head: Tensor, *tails: Tensor) -> Tensor:
    """What AdaptiveSoftmax.get_log_prob gives, which has no gradient as it writes over what the gradient needs."""
    words, *clusters = head.split([head.size(1) - len(tails), *[1] * len(tails)], dim=1)
    return torch.cat([words, *map(torch.add, tails, clusters)], dim=-1)


def ensemble(predictions: List[Tensor]) -> Tensor:
    """Logarithms of the mean of several models' probabilities, [N, V].

    Args:
        predictions: logarithms of the probabilities of each model, [N, V]

    Examples:
        >>> import torch
        >>> from fairseq_lite.distillation import ensemble
        >>> ensemble([torch.tensor([[0.2, 0.8]]).log(), torch.tensor([[0.4, 0.6]]).log()]).exp()
        tensor([[0.3000, 0.7000]])
    """
    if len(predictions) == 1:
        return predictions[0]
    return torch.stack(predictions).logsumexp(0) - math.log(len(predictions))


def divergence(teacher: Tensor, student: Tensor, temperature: float = 1.0, top_k: Optional[int] = None) -> Tensor:
    """KL(teacher || student), times T^2, summed over N predictions (Hinton et al., 2015, arXiv 1503.02531).

    The factor T^2 keeps the size of the gradient.

    Args:
        teacher, student: logarithms of probabilities, [N, V]
        temperature: T, by which both are divided before they are normalised again
        top_k: compare the words alone that are most probable to the teacher, so many; all by default

    Examples:
        >>> import torch
        >>> from fairseq_lite import divergence
        >>> teacher, student = torch.randn(2, 5, 100).log_softmax(-1)
        >>> divergence(teacher, teacher, temperature=2.0).item()
        0.0
        >>> divergence(teacher, student, temperature=2.0, top_k=10).item() > 0
        True
    """
    if top_k is not None:
        teacher, words = teacher.topk(top_k, dim=-1)
        student = student.gather(-1, words)
    if top_k is not None or temperature != 1:
        teacher, student = (F.log_softmax(side / temperature, dim=-1) for side in (teacher, student))
    return temperature**2 * F.kl_div(student, teacher, reduction="sum", log_target=True)


def distance_from(
    teachers: Sequence[Predictions], student: Predictions, temperature: float, top_k: Optional[int]
) -> Tensor:
    """`divergence` of a student from the mean of teachers, a few of the N predictions at a time."""
    models = [model for model, _ in (student, *teachers)]
    by_parts = temperature == 1 and top_k is None and len(teachers) == 1 and _same_clusters(models)
    rows = max(1, ENTRIES // _words(*student))
    total = student[1].new_zeros((), dtype=torch.float32)
    for outputs in zip(*(output.split(rows) for _, output in (student, *teachers))):
        if by_parts:
            total = total + _divergence_by_parts(models, outputs)
        else:
            own, *others = map(log_probabilities, models, outputs)
            total = total + divergence(ensemble(others), own, temperature, top_k)
    return total


def _same_clusters(models: Sequence[nn.Module]) -> bool:
    softmaxes = [_adaptive_softmax(model) for model in models]
    first, *others = (softmax.cutoff if softmax is not None else None for softmax in softmaxes)
    return first is not None and all(cutoff == first for cutoff in others)


def _divergence_by_parts(models: Sequence[nn.Module], features: Sequence[Tensor]) -> Tensor:
    """`divergence` of a student from a teacher whose adaptive softmaxes have the same clusters.

    By the chain rule it is that of the heads, plus that of each cluster's words times the teacher's probability of the
    cluster. So the probabilities of all words are never put together, which takes longer.
    """
    student, teacher = (_parts(model.decoder.adaptive_softmax, part) for model, part in zip(models, features))
    head, *tails = teacher
    total = divergence(head, student[0])
    for cluster, own, tail in zip(head[:, -len(tails) :].exp().unbind(1), student[1:], tails):
        total = total + cluster.dot(F.kl_div(own, tail, reduction="none", log_target=True).sum(-1))
    return total
