import pytest
import torch
from torch import nn

from fairseq_lite.building import build_architecture
from fairseq_lite.compression.scheme import Scheme
from fairseq_lite.compression.states import first_of_equals, seal_state, unseal_state
from fairseq_lite.compression.training import StraightThrough, TrainedCentroids, quantised_values

OPTIMIZERS = {
    "adam": lambda parameters: torch.optim.Adam(parameters, 1e-2, weight_decay=0.1),
    "sgd": lambda parameters: torch.optim.SGD(parameters, 0.1, momentum=0.9),
}


class Toy(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(50, 40)
        self.fc = nn.Linear(40, 60)
        self.small = nn.Linear(60, 3)

    def loss(self, seed):
        generator = torch.Generator().manual_seed(seed)
        tokens, labels = (torch.randint(n, (30,), generator=generator) for n in (50, 3))
        return nn.functional.cross_entropy(self.small(self.fc(self.embed(tokens)).relu()), labels)


def step(model, training, optimizer, seed):
    optimizer.zero_grad()
    with training.quantised():
        loss = model.loss(seed)
        loss.backward()
    training.share_gradients()
    optimizer.step()
    training.project()
    return loss


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_straight_through_is_the_gradient_at_quantised_weights(bits):
    model, quantised = Toy(), Toy()
    training = StraightThrough(model, Scheme(bits, "linear"))
    quantised.load_state_dict(model.state_dict())
    for name in ("embed", "fc"):
        weight = getattr(quantised, name).weight
        weight.data = quantised_values(weight, Scheme(bits, "linear"))
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with training.quantised():
        loss = model.loss(1)
        loss.backward()
    quantised.loss(1).backward()
    assert torch.equal(loss, quantised.loss(1))
    for ours, theirs in zip(model.parameters(), quantised.parameters()):
        assert torch.equal(ours.grad, theirs.grad)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_full_weights_come_back_from_a_failed_pass():
    model = Toy()
    before = model.fc.weight.clone()
    with pytest.raises(ZeroDivisionError), StraightThrough(model, Scheme(2, "linear")).quantised():
        assert not torch.equal(model.fc.weight, before)
        raise ZeroDivisionError
    assert torch.equal(model.fc.weight, before)


def test_gradient_of_a_centroid_is_the_mean_over_its_cluster():
    model = Toy()
    training = TrainedCentroids(model, Scheme(2))
    model.loss(1).backward()
    weight, gradient = model.fc.weight, model.fc.weight.grad.clone()
    training.share_gradients()
    values = weight.unique()
    assert len(values) == 4
    for value in values:
        members = weight == value
        mean = gradient[members].mean()
        torch.testing.assert_close(weight.grad[members], mean.expand(int(members.sum())))


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_clusters_stay_and_their_centroids_learn(optimizer):
    model = Toy()
    training = TrainedCentroids(model, Scheme(3))
    start = model.fc.weight.detach().clone()
    optimizer = OPTIMIZERS[optimizer](model.parameters())
    losses = [float(step(model, training, optimizer, 1)) for _ in range(30)]
    assert losses[-1] < 0.9 * losses[0]
    assert not torch.equal(model.fc.weight, start)
    for value in start.unique():
        assert len(model.fc.weight[start == value].unique()) == 1


def test_resumed_it_finds_the_same_clusters():
    model, resumed = Toy(), Toy()
    training = TrainedCentroids(model, Scheme(3))
    optimizer = OPTIMIZERS["sgd"](model.parameters())
    step(model, training, optimizer, 1)
    resumed.load_state_dict(model.state_dict())
    again = TrainedCentroids(resumed, Scheme(3))
    for name, clusters in training.clusters.items():
        pairs = set(zip(clusters.tolist(), again.clusters[name].tolist()))
        assert len(pairs) == len(training.sizes[name]) == len(again.sizes[name])
        torch.testing.assert_close(resumed.get_parameter(name), model.get_parameter(name), rtol=0, atol=1e-3)


@pytest.mark.parametrize("zeros", [0.1, 0.7])
@pytest.mark.parametrize("method, trainer", [("kmeans", TrainedCentroids), ("linear", StraightThrough)])
def test_rows_of_zeros_stay_zeros(zeros, method, trainer):
    model = Toy()
    masked = torch.rand(60) < zeros
    model.fc.weight.data[masked] = 0
    training = trainer(model, Scheme(4, method))
    if trainer is TrainedCentroids:
        step(model, training, OPTIMIZERS["adam"](model.parameters()), 1)
    with training.quantised():
        assert torch.equal(model.fc.weight.any(1), ~masked)


@pytest.mark.parametrize("bits", [2, 4])
@pytest.mark.parametrize("method, trainer", [("kmeans", TrainedCentroids), ("linear", StraightThrough)])
def test_compressed_it_is_the_model_that_was_trained(bits, method, trainer):
    scheme = Scheme(bits, method)
    model = build_architecture("lite_transformer_tiny", ["--share-all-embeddings"], 100).eval()
    training = trainer(model, scheme)
    tokens = torch.randint(4, 100, (3, 7))
    with torch.no_grad():
        for parameter in training.parameters.values():
            parameter.add_(0.01 * torch.randn_like(parameter))
        training.project()
        with training.quantised():
            expected, _ = model(tokens, torch.tensor([7, 7, 7]), tokens)
        state = model.state_dict()
        model.load_state_dict(unseal_state(seal_state(state, scheme, first_of_equals(state))), strict=True)
        found, _ = model(tokens, torch.tensor([7, 7, 7]), tokens)
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=5e-3)
