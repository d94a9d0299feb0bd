import math

import pytest
import torch
from fairseq.modules import AdaptiveSoftmax

from fairseq_lite.distillation import losses
from fairseq_lite.distillation.losses import distance_from, divergence, ensemble, log_probabilities

ROWS, WORDS = 3, 6


def predictions():
    return torch.randn(ROWS, WORDS, dtype=torch.double).log_softmax(-1)


def softened(row, words, temperature):
    """The probabilities of some words of a row at a temperature, as a plain dict."""
    powers = {word: math.exp(row[word]) ** (1 / temperature) for word in words}
    return {word: power / sum(powers.values()) for word, power in powers.items()}


def naive(teacher, student, temperature, top_k):
    total = 0.0
    for taught, learnt in zip(teacher.tolist(), student.tolist()):
        words = sorted(range(WORDS), key=lambda word: -taught[word])[:top_k]
        p, q = softened(taught, words, temperature), softened(learnt, words, temperature)
        total += sum(p[word] * math.log(p[word] / q[word]) for word in words)
    return temperature**2 * total


@pytest.mark.parametrize("temperature", [1.0, 2.0, 0.5])
@pytest.mark.parametrize("top_k", [None, WORDS, 2, 1])
def test_divergence_by_hand(temperature, top_k):
    teacher, student = predictions(), predictions()
    found = divergence(teacher, student, temperature, top_k)
    assert found.item() == pytest.approx(naive(teacher, student, temperature, top_k), abs=1e-12)


def test_nothing_is_to_learn_from_an_equal():
    student = predictions().requires_grad_()
    distance = divergence(student.detach(), student, 2.0, 3)
    distance.backward()
    assert distance.item() == pytest.approx(0, abs=1e-12) and student.grad.abs().max() < 1e-12


def test_no_predictions_are_no_distance():
    student = torch.zeros(0, WORDS, requires_grad=True)
    divergence(torch.zeros(0, WORDS), student).backward()
    assert student.grad.shape == (0, WORDS)


def test_an_ensemble_is_the_mean_probability():
    models = [predictions() for _ in range(3)]
    mean = sum(model.exp() for model in models) / 3
    torch.testing.assert_close(ensemble(models).exp(), mean)
    assert ensemble(models[:1]) is models[0]


class Model(torch.nn.Module):
    def __init__(self, softmax=None):
        super().__init__()
        self.decoder = torch.nn.Module()
        self.decoder.adaptive_softmax = softmax


def test_adaptive_softmax_gives_what_fairseq_gives_and_has_a_gradient():
    softmax = AdaptiveSoftmax(20, 8, [5, 12], dropout=0.0)
    features = torch.randn(4, 8, requires_grad=True)
    found = log_probabilities(Model(softmax), features)
    torch.testing.assert_close(found, softmax.get_log_prob(features.unsqueeze(0), None)[0])
    torch.testing.assert_close(found.exp().sum(-1), torch.ones(4))
    found[0, 19].backward()
    assert features.grad[0].any() and not features.grad[1:].any()


def test_logits_of_half_precision_are_compared_in_single():
    assert log_probabilities(Model(), torch.randn(2, 5).half()).dtype == torch.float32


@pytest.mark.parametrize("top_k", [None, 3])
@pytest.mark.parametrize("adaptive", [False, True])
def test_the_distance_in_parts_is_that_of_all(adaptive, top_k, monkeypatch):
    models = [Model(AdaptiveSoftmax(20, 8, [5, 12], dropout=0.0) if adaptive else None) for _ in range(3)]
    outputs = [torch.randn(7, 8 if adaptive else 20) for _ in models]
    student = outputs[0].requires_grad_()
    own, *others = map(log_probabilities, models, outputs)
    whole = divergence(ensemble(others).detach(), own, 2.0, top_k)
    (wanted,) = torch.autograd.grad(whole, student)
    monkeypatch.setattr(losses, "ENTRIES", 40)
    parts = distance_from(list(zip(models[1:], outputs[1:])), (models[0], student), 2.0, top_k)
    torch.testing.assert_close(parts, whole)
    torch.testing.assert_close(torch.autograd.grad(parts, student)[0], wanted)


@pytest.mark.parametrize("cutoffs", [[5, 12], [20], [5, 12, 20]])
def test_the_distance_by_clusters_is_that_of_all_words(cutoffs):
    models = [Model(AdaptiveSoftmax(20, 8, list(cutoffs), dropout=0.0)) for _ in range(2)]
    outputs = [torch.randn(7, 8) for _ in models]
    student = outputs[0].requires_grad_()
    own, other = map(log_probabilities, models, outputs)
    whole = divergence(other.detach(), own)
    learning = [student, *models[0].parameters()]
    wanted = torch.autograd.grad(whole, learning)
    by_clusters = distance_from([(models[1].requires_grad_(False), outputs[1])], (models[0], student), 1.0, None)
    torch.testing.assert_close(by_clusters, whole)
    torch.testing.assert_close(torch.autograd.grad(by_clusters, learning), wanted)


@pytest.mark.parametrize("softmax", [AdaptiveSoftmax(20, 8, [4, 12], dropout=0.0), None])
def test_a_teacher_of_other_clusters_is_compared_word_by_word(softmax):
    models = [Model(AdaptiveSoftmax(20, 8, [5, 12], dropout=0.0)), Model(softmax)]
    outputs = [torch.randn(7, 8), torch.randn(7, 20 if softmax is None else 8)]
    own, other = map(log_probabilities, models, outputs)
    found = distance_from([(models[1], outputs[1])], (models[0], outputs[0]), 1.0, None)
    torch.testing.assert_close(found, divergence(other, own))
