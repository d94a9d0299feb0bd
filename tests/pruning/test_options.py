import pytest
from models import build

from fairseq_lite.errors import UserError
from fairseq_lite.pruning.neurons import prunable_layers
from fairseq_lite.pruning.options import PruningOptions, check
from fairseq_lite.pruning.plan import chosen_groups, pools


def options(**given):
    return PruningOptions(**{f"pruning_{name}": value for name, value in given.items()})


@pytest.mark.parametrize("given", [dict(target=0.5, end=0), dict(targets="q=0.5,k=0.5,i=0.1", end=3, start=3)])
def test_options_that_fit(given):
    check(options(**given))


@pytest.mark.parametrize(
    "given, told",
    [
        (dict(end=5), "--pruning-target: not given"),
        (dict(target=1.5, end=5), "--pruning-target 1.5: must lie between 0 and 1"),
        (dict(targets="i=-1", end=5), "--pruning-targets i=-1: each must lie between 0 and 1"),
        (dict(target=0.5), "--pruning-end: not given"),
        (dict(target=0.5, start=9, end=5), "--pruning-start 9 --pruning-end 5: must"),
        (dict(target=0.5, start=-1, end=5), "--pruning-start -1 --pruning-end 5: must"),
        (dict(target=0.5, end=5, steps=0), "--pruning-steps 0: must be at least 1"),
        (dict(target=0.5, end=5, components="i,x"), "--pruning-components i,x: unknown x; take some of q, k,"),
        (dict(target=0.5, end=5, components="q,v"), "--pruning-components q,v: q and k are pruned as pairs"),
        (dict(targets="q=0.5,k=0.4", end=5), "--pruning-targets q=0.5,k=0.4: q and k are pruned as pairs"),
        (dict(targets="x=0.5", end=5), "--pruning-targets x=0.5: unknown x"),
        (dict(targets="i=much", end=5), "--pruning-targets i=much: write it as"),
        (dict(targets="i=.5,i=.9", end=5), "--pruning-targets i=.5,i=.9: gives i twice"),
        (dict(targets="", target=0.5, end=5), "--pruning-targets '': write it as"),
        (dict(target=0.5, end=5, components=""), "--pruning-components '': unknown ''; take some of q, k,"),
        (dict(targets="v=0.5", components="q,k", end=5), "v=0.5: --pruning-components q,k leaves out v"),
    ],
)
def test_options_that_do_not_fit(given, told):
    with pytest.raises(UserError) as error:
        check(options(**given))
    assert told in str(error.value)


@pytest.mark.parametrize("last, warned", [(5, True), (6, False), (0, False)])
def test_an_end_beyond_the_training_is_warned_of(caplog, last, warned):
    check(options(target=0.5, end=6, max_update=last))
    assert ("--pruning-end 6: lies beyond --max-update 5" in caplog.text) == warned


def test_components_with_a_target_of_their_own_compete_within_themselves():
    layers = chosen_groups(options(targets="q=1,k=1"), prunable_layers(build("transformer_tiny")))
    made = pools(options(targets="q=1,k=1,i=0.5", target=0.2), layers)
    competing = {tuple(sorted({c for n in pool.numbers for c in layers[n].components})): pool.target for pool in made}
    assert competing == {("k", "q"): 1.0, ("i",): 0.5, ("ao", "o", "v"): 0.2}
    by_component = pools(options(target=0.2, scope="component"), layers)
    assert len(by_component) == 5 and {pool.target for pool in by_component} == {0.2}
    by_layer = pools(options(target=0.2, targets="i=0.5", scope="layer"), layers)
    assert [(pool.numbers, pool.target) for pool in by_layer] == [
        ([n], 0.5 if layer.components == ("i",) else 0.2) for n, layer in enumerate(layers)
    ]


def test_components_that_the_model_has_not():
    with pytest.raises(UserError, match="has no p; it has q, k, v, ao, i, o$"):
        chosen_groups(options(target=0.5, components="i,p"), prunable_layers(build("transformer_tiny")))
