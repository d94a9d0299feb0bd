import pytest
import torch

from fairseq_lite.building import build_architecture
from fairseq_lite.compression import states
from fairseq_lite.compression.magnitude import prune_smallest
from fairseq_lite.compression.packing import Damaged
from fairseq_lite.compression.scheme import Scheme
from fairseq_lite.compression.states import (
    SEALED,
    count_weights,
    first_of_equals,
    is_sealed,
    sealed_sizes,
    unseal_state,
)
from fairseq_lite.errors import UserError


def seal_state(state, scheme):
    return states.seal_state(state, scheme, first_of_equals(state))


def prune(state, share, scheme):
    return prune_smallest(state, share, scheme, first_of_equals(state))


MODELS = {
    "lite_transformer_tiny": ["--share-all-embeddings"],
    "t2r_transformer_tiny": [],
    "transformer_tiny": ["--share-decoder-input-output-embed"],
    "lightconv_iwslt_de_en": ["--encoder-layers", "1", "--decoder-layers", "1", "--encoder-kernel-size-list", "[3]",
                              "--decoder-kernel-size-list", "[3]"],
    "lite_transformer_lm_tiny": ["--adaptive-input", "--adaptive-input-cutoff", "50", "--adaptive-softmax-cutoff", "50",
                                 "--tie-adaptive-weights"],
}  # fmt: skip


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("scheme", [Scheme(8), Scheme(3, "linear", entropy_code=True)], ids=str)
def test_models_come_back(name, scheme):
    model = build_architecture(name, MODELS[name], 200)
    for parameter in model.parameters():
        # fairseq leaves some uninitialised
        torch.nn.init.normal_(parameter)
    state = model.state_dict()
    sealed = seal_state(state, scheme)
    assert is_sealed(sealed) and not is_sealed(state)
    back = unseal_state(sealed)
    assert list(back) == list(state)
    for key, tensor in state.items():
        assert back[key].dtype == tensor.dtype and back[key].shape == tensor.shape
        if tensor.dim() > 1:
            assert (back[key] - tensor).square().mean() <= tensor.square().mean() * 4.0 ** (1.5 - scheme.bits)
        else:
            torch.testing.assert_close(back[key], tensor, rtol=2**-10, atol=1e-7)
    model.load_state_dict(back, strict=True)


def test_tied_weights_are_stored_once_also_where_they_were_not():
    weight = torch.randn(40, 50)
    state = {"embed.weight": weight, "output.weight": weight, "copy.weight": weight.clone(), "other": weight + 1}
    sealed = seal_state(state, Scheme(8))
    sizes = sealed_sizes(sealed)
    assert sizes["embed.weight"] == sizes["other"] > 2000
    assert sizes["output.weight"] == sizes["copy.weight"] == 0
    back = unseal_state(sealed)
    assert back["embed.weight"].data_ptr() == back["output.weight"].data_ptr() == back["copy.weight"].data_ptr()
    assert count_weights(sealed) == 2 * 40 * 50


@pytest.mark.parametrize("scheme", [Scheme(4, entropy_code=True), Scheme(4, "linear")], ids=str)
def test_the_same_model_gives_the_same_bits(scheme):
    state = build_architecture("lite_transformer_tiny", [], 100).state_dict()
    blobs = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        blobs.append(seal_state(state, scheme)[SEALED])
    assert torch.equal(*blobs)


def test_packing_again_changes_nothing():
    state = build_architecture("transformer_tiny", [], 100).state_dict()
    once = unseal_state(seal_state(state, Scheme(4)))
    twice = unseal_state(seal_state(once, Scheme(4)))
    for name in once:
        torch.testing.assert_close(once[name], twice[name], rtol=0, atol=once[name].abs().max() * 2**-11)


def test_any_flipped_byte_is_damage():
    sealed = seal_state({"weight": torch.randn(40, 50), "bias": torch.randn(40)}, Scheme(4))
    for position in range(0, len(sealed[SEALED]), 7):
        damaged = sealed[SEALED].clone()
        damaged[position] ^= 16
        with pytest.raises(Damaged):
            unseal_state({SEALED: damaged})


def zeros(state, names):
    return sum(int(state[name].eq(0).sum()) for name in names) / sum(state[name].numel() for name in names)


def test_pruning_sets_the_smallest_weights_of_all_matrices_to_zero():
    tied = torch.randn(50, 40)
    state = {"a": tied, "b": tied, "c": 3 * torch.randn(60, 50), "kept": torch.randn(60, 50), "bias": torch.randn(2000)}
    pruned = prune(state, 0.5, Scheme(keep=("kept",)))
    assert zeros(pruned, ["a", "c"]) == pytest.approx(0.5, abs=1e-3)
    assert pruned["a"] is pruned["b"]
    assert pruned["kept"] is state["kept"] and pruned["bias"] is state["bias"]
    survivors = torch.cat([pruned[name][pruned[name].ne(0)].abs() for name in "ac"])
    dropped = torch.cat([state[name][pruned[name].eq(0)].abs() for name in "ac"])
    assert dropped.max() <= survivors.min()
    # what is zero already counts
    assert prune(pruned, 0.5, Scheme(keep=("kept",)))["c"].eq(pruned["c"]).all()


@pytest.mark.parametrize("share", [-0.1, 1.0])
def test_shares_that_are_none(share):
    with pytest.raises(UserError, match=f"sparsity {share}: must be at least 0 and less than 1"):
        prune({"a": torch.randn(50, 40)}, share, Scheme())
