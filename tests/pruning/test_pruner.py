import pytest
import torch
from models import batch, build

from fairseq_lite.pruning.neurons import GRANULARITIES, prunable_layers
from fairseq_lite.pruning.options import PruningOptions
from fairseq_lite.pruning.pruner import Pruner


def options(**given):
    return PruningOptions(**{f"pruning_{name}": value for name, value in given.items()})


def train(model, pruner, updates, after_step=lambda: None):
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    inputs = batch(model)
    for update in updates:
        optimizer.zero_grad()
        pruner.before_forward(update)
        loss = model(*inputs)[0].float().logsumexp(-1).sum()
        pruner.see_loss(loss)
        loss.backward()
        optimizer.step()
        after_step()


def zero_neurons(state, like):
    model = build(like)
    model.load_state_dict(state)
    layers = GRANULARITIES["neuron"](prunable_layers(model))
    return torch.cat([layer.pruned() for layer in layers for _ in layer.components]).float().mean().item()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_masks_hold_whatever_the_optimizer_writes(dtype):
    """As half precision does, whose master weights are copied over the model's after each step."""
    model = build("transformer_tiny").to(dtype)
    pruner = Pruner(model, options(target=0.5, end=4, steps=2), updates=0)

    def overwrite():
        for parameter in model.parameters():
            parameter.data.add_(torch.rand_like(parameter) / 10)

    train(model, pruner, range(1, 7), overwrite)
    assert zero_neurons(model.state_dict(), "transformer_tiny") == pytest.approx(0.5, abs=0.01)


def test_a_step_waits_for_gradients_to_go_by():
    model = build("transformer_tiny")
    pruner = Pruner(model, options(target=0.5, end=0, steps=1), updates=0)
    train(model, pruner, [1])
    assert pruner.masks.sparsity["all"] == 0
    train(model, pruner, [2])
    assert pruner.masks.sparsity["all"] == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize("update, expected", [(1, 0.0), (2, 0.25), (3, 0.25), (4, 0.5), (5, 0.5)])
def test_the_target_of_an_update(update, expected):
    model = build("transformer_tiny")
    pruner = Pruner(model, options(target=0.5, end=4, steps=2, importance="magnitude"), updates=0)
    pruner.before_forward(update)
    assert pruner.target() == pytest.approx(expected)
    assert pruner.masks.sparsity["all"] == pytest.approx(expected, abs=0.01)


def test_who_goes_on_from_a_pruned_model_knows_what_is_pruned():
    given = options(target=0.5, end=4, steps=2, importance="magnitude")
    model = build("transformer_tiny")
    first = Pruner(model, given, updates=0)
    first.before_forward(2)
    second = Pruner(model, given, updates=3)
    assert second.steps_done == first.steps_done == 1
    assert all(a.equal(b) for a, b in zip(first.masks.pruned, second.masks.pruned))


def test_what_a_resumed_run_lacks_is_made_up_for():
    """As where the target was raised after the end of the schedule."""
    model = build("transformer_tiny")
    Pruner(model, options(target=0.3, end=4, steps=2, importance="magnitude"), updates=0).before_forward(4)
    higher = Pruner(model, options(target=0.5, end=4, steps=2, importance="magnitude"), updates=9)
    higher.before_forward(10)
    assert higher.masks.sparsity["all"] == pytest.approx(0.5, abs=0.01)
