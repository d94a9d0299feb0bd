import pytest
import torch
from models import build

from fairseq_lite.pruning.masks import Masks, Pool, normalised
from fairseq_lite.pruning.neurons import GRANULARITIES, prunable_layers


def layers_of(options="transformer_tiny", granularity="neuron"):
    return GRANULARITIES[granularity](prunable_layers(build(options)))


def random_scores(layers):
    return [torch.rand(layer.count) for layer in layers]


def naive(layers, scores, sparsity):
    """One unit after the other, the least important first, as long as the sparsity is not passed."""
    units = [
        (score.item(), number, unit, layer.neurons_per_unit)
        for number, (layer, layer_scores) in enumerate(zip(layers, scores))
        for unit, score in enumerate(normalised(layer_scores))
    ]
    room = round(sparsity * sum(weight for *_, weight in units))
    gone = set()
    for _, number, unit, weight in sorted(units):
        room -= weight
        if room < 0:
            break
        gone.add((number, unit))
    return gone


@pytest.mark.parametrize("sparsity", [0.0, 0.1, 0.5, 0.93, 1.0])
def test_the_least_important_units_of_all_layers_go(sparsity):
    layers = layers_of()
    scores = random_scores(layers)
    masks = Masks(layers)
    masks.extend(scores, [Pool(list(range(len(layers))), sparsity)], 1.0)
    gone = {(n, int(unit)) for n, units in enumerate(masks.pruned) for unit in units.nonzero()}
    assert gone == naive(layers, scores, sparsity)
    assert masks.have_reached([Pool(list(range(len(layers))), sparsity)], 1.0)
    assert masks.sparsity["all"] == pytest.approx(sparsity, abs=2 / sum(n.count * n.neurons_per_unit for n in layers))


def test_each_pool_reaches_its_own_target():
    layers = layers_of()
    hidden = [n for n, layer in enumerate(layers) if layer.components == ("i",)]
    values = [n for n, layer in enumerate(layers) if layer.components == ("v",)]
    masks = Masks(layers)
    masks.extend(random_scores(layers), [Pool(hidden, 0.8), Pool(values, 0.2)], 0.5)
    reached = {component: round(part, 2) for component, part in masks.sparsity.items() if part}
    assert reached == {"i": 0.4, "v": 0.1, "all": reached["all"]}


def test_what_is_pruned_never_comes_back():
    layers = layers_of()
    everything = [Pool(list(range(len(layers))), 0.6)]
    masks = Masks(layers)
    masks.extend(random_scores(layers), everything, 0.5)
    masks.apply()
    before = [units.clone() for units in Masks(layers).pruned]
    masks.extend(random_scores(layers), everything, 1.0)
    assert all((now | then).equal(now) for now, then in zip(masks.pruned, before))
    assert masks.sparsity["all"] == pytest.approx(0.6, abs=0.01)


@pytest.mark.parametrize("granularity", GRANULARITIES)
def test_masked_units_are_zeros_that_are_found_again(granularity):
    layers = layers_of("lite_transformer_tiny --encoder-conv-glu", granularity)
    masks = Masks(layers)
    assert not masks.touched
    masks.extend(random_scores(layers), [Pool(list(range(len(layers))), 0.3)], 1.0)
    masks.apply()
    assert all(found.equal(pruned) for found, pruned in zip(Masks(layers).pruned, masks.pruned))


def test_pruned_units_have_no_gradient():
    layers = layers_of()
    masks = Masks(layers)
    masks.extend(random_scores(layers), [Pool(list(range(len(layers))), 0.5)], 1.0)
    for n, layer in enumerate(layers):
        for parameter in layer.parameters:
            gradient = masks.mask_gradient(n, parameter, torch.ones_like(parameter))
            assert (gradient == 0).equal(layer.expand(masks.pruned[n], parameter).expand_as(parameter))


def test_a_target_in_each_layer_is_reached_in_each():
    layers = layers_of()
    masks = Masks(layers)
    masks.extend(random_scores(layers), [Pool([n], 0.5) for n in range(len(layers))], 1.0)
    assert all(int(units.sum()) == layer.count // 2 for layer, units in zip(layers, masks.pruned))


def test_what_is_not_a_number_is_not_pruned():
    layers = layers_of()
    for layer in layers:
        layer.zero(torch.ones(layer.count, dtype=torch.bool))
        layer.parameters[0].data[0, 0] = float("nan")
    for layer, pruned in zip(layers, Masks(layers).pruned):
        assert pruned.tolist() == [False] + [True] * (layer.count - 1)
