"""The greedy choice of linear sublayers, on losses made up, and what a step of decoding costs."""

from types import SimpleNamespace

import pytest
from fairseq.modules import MultiheadAttention

from fairseq_lite.building import build_architecture
from fairseq_lite.errors import ArgumentError
from fairseq_lite.measure.decoding import check_positions, step_costs
from fairseq_lite.measure.sublayer_choice import as_option, choose, kept_softmax, rise
from fairseq_lite.models.sublayers import Sublayer
from fairseq_lite.modules.attention_transfer import linear_attentions

CANDIDATES = [Sublayer("causal", 0), Sublayer("causal", 1), Sublayer("cross", 0), Sublayer("cross", 1)]
PERCENT = dict(zip(CANDIDATES, (0.2, 0.1, 3, 1)))


def made_up(seen):
    def perplexity(linear):
        seen.append(linear)
        return 10 * (1 + sum(PERCENT[sublayer] for sublayer in linear) / 100)

    return perplexity


@pytest.mark.parametrize(
    "most_loss, order, softmax",
    [
        (0.02, "causal.1 causal.0 cross.1 cross.0", "cross.0"),
        (0.0, "causal.1", "causal cross"),
        (0.0025, "causal.1 causal.0", "causal.0 cross"),
        (1.0, "causal.1 causal.0 cross.1 cross.0", ""),
    ],
)
def test_each_round_makes_linear_what_costs_least(most_loss, order, softmax):
    seen = []
    rounds = choose(CANDIDATES, made_up(seen), most_loss)
    assert " ".join(str(found.made_linear) for found in rounds[1:]) == order
    kept = kept_softmax(CANDIDATES, rounds, most_loss)
    assert as_option(kept, CANDIDATES, None) == ",".join(softmax.split())
    assert len(seen) <= 1 + len(CANDIDATES) * (len(CANDIDATES) + 1) / 2
    assert rise(rounds[1], rounds) == pytest.approx(0.001)


def test_what_the_checkpoint_keeps_as_softmax_stays_so():
    assert as_option([Sublayer("cross", 1)], CANDIDATES, "2,cross.1") == "2,cross.1"


def parts(*options):
    """A model with all attention linear and one with none, and the names of that attention."""
    sizes = ["--decoder-layers", "1", *options]
    linear = build_architecture("t2r_transformer_tiny", sizes, 30).eval()
    softmax = build_architecture("t2r_transformer_tiny", [*sizes, "--softmax-sublayers", "0"], 30).eval()
    return linear, softmax, list(linear_attentions(linear))


@pytest.mark.parametrize("feature_map", ["t2r", "elu", "exp"])
def test_the_state_and_the_products_are_those_of_the_formulas(feature_map):
    T, C, k, d = 9, 64, 6, 32
    options = ["--feature-map", feature_map, "--causal-feature-dim", k, "--cross-feature-dim", k]
    linear, softmax, names = parts(*map(str, options))
    past, source = names
    H, k = C // d, d if feature_map == "elu" else k
    costs = step_costs(linear, softmax, [frozenset(), frozenset([past]), frozenset(names)], T)
    cache, sums = 4 * 2 * T * C, 4 * H * k * (d + 1)
    assert [cost.state_bytes for cost in costs] == [2 * cache, sums + cache, 2 * sums]
    softmax_past, softmax_source = 4 * C * C + 2 * T * C, 2 * C * C + 2 * T * C
    linear_past = 2 * C * C + 2 * C * H * k + H * k * (2 * d + 1)
    linear_source = C * C + C * H * k + H * k * (d + 1)
    assert costs[0].mult_adds == softmax_past + softmax_source
    assert costs[1].mult_adds == pytest.approx(linear_past + softmax_source, rel=0.02)
    assert costs[2].mult_adds == pytest.approx(linear_past + linear_source, rel=0.02)
    assert all(cost.milliseconds > 0 for cost in costs)


def test_the_softmax_model_has_softmax_attention():
    _, softmax, names = parts()
    assert all(isinstance(softmax.get_submodule(name), MultiheadAttention) for name in names)


@pytest.mark.parametrize("positions", [0, -1, 2000])
def test_positions_that_a_model_does_not_take(positions):
    model = SimpleNamespace(max_positions=lambda: (1024, 1024))
    with pytest.raises(ArgumentError, match=f"positions {positions}: this model takes 1 to 1024"):
        check_positions(model, positions)
