"""Shrinking checkpoints: every model of Transformer layers, one after the other, before and after T2R."""

import pickle

import pytest
import torch
from composed import composed
from fairseq.models import build_model
from fairseq.sequence_generator import SequenceGenerator
from models import VOCABULARY, batch, mask

from fairseq_lite.building import _parse, task_of_language_pairs, task_of_sizes
from fairseq_lite.checkpoints import model_of
from fairseq_lite.errors import UserError
from fairseq_lite.measure.inputs import measured_part
from fairseq_lite.measure.mult_adds import count_mult_adds
from fairseq_lite.models.pruned import check_prunable
from fairseq_lite.modules import FEATURE_MAPS
from fairseq_lite.pruning.shrinking import shrink
from fairseq_lite.pruning.sparsity import sparsity_of

SIZES = " ".join(
    f"--{side}-{option}"
    for side in ("encoder", "decoder")
    for option in ("embed-dim 32", "ffn-embed-dim 48", "layers 2", "attention-heads 4")
)
PAIRS = task_of_language_pairs(["de-en", "fr-en"], dict.fromkeys(("de", "en", "fr"), VOCABULARY))
TRANSLATORS = {
    "bart": f"bart_base {SIZES}",
    "mbart": f"mbart_base {SIZES} --encoder-normalize-before --decoder-normalize-before",
    "align": f"transformer_align {SIZES} --alignment-layer 1",
    "multilingual": f"multilingual_transformer {SIZES}",
    "multilingual, shared": f"multilingual_transformer {SIZES} --share-encoders --share-decoder-embeddings",
}
OTHERS = {
    "lm": "transformer_lm --decoder-embed-dim 32 --decoder-layers 2 --decoder-attention-heads 2",
    "lite": "lite_transformer_tiny",
    "lite lm": "lite_transformer_lm_tiny",
    "t2r": "t2r_transformer_tiny",
    "evolved": "evolved_transformer_tiny",
    "window": "t2r_transformer_tiny --feature-map exp --causal-window 3",
}
translators = pytest.mark.parametrize("options", TRANSLATORS.values(), ids=TRANSLATORS)
all_models = pytest.mark.parametrize("options", [*TRANSLATORS.values(), *OTHERS.values()], ids=[*TRANSLATORS, *OTHERS])


def build(options):
    """The options and the model that training would make of them."""
    name, *options = options.split()
    cfg = composed(_parse(name, options))
    task = PAIRS if name.startswith("multilingual") else task_of_sizes(VOCABULARY, VOCABULARY)
    return cfg, build_model(cfg.model, task).eval()


def checkpoint_of(cfg, model):
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    return {"cfg": cfg, "model": state, "extra_state": {"ema": state}, "last_optimizer_state": {}}


def outputs(model, inputs):
    parts = model.models.values() if hasattr(model, "models") else [model]
    return [part(*inputs)[0] for part in parts]


def parameters(model):
    return sum(parameter.numel() for parameter in model.parameters())


def hypotheses(model, source):
    part = measured_part(model)
    generator = SequenceGenerator([part], part.decoder.dictionary, beam_size=3, max_len_b=9)
    sample = {"net_input": {"src_tokens": source, "src_lengths": source.ne(1).sum(1)}}
    return [[h["tokens"].tolist() for h in sentence] for sentence in generator.generate([], sample)]


@all_models
def test_shrunk_once_and_again_says_what_the_masked_model_says(options):
    cfg, model = build(options)
    inputs = batch(measured_part(model))
    sizes = [parameters(model)]
    for part in (0.4, 0.5):
        masked = checkpoint_of(cfg, mask(model, part))
        small = shrink(masked, "masked.pt")
        shrunk = model_of(small, "shrunk.pt")
        torch.testing.assert_close(outputs(shrunk, inputs), outputs(model, inputs), rtol=1e-5, atol=1e-5)
        assert sparsity_of(small, "shrunk.pt").part() == sparsity_of(masked, "masked.pt").part() > part - 0.1
        assert "ema" not in small["extra_state"] and "last_optimizer_state" not in small
        cfg, model = small["cfg"], shrunk
        sizes.append(parameters(model))
    assert sizes == sorted(sizes, reverse=True) and len(set(sizes)) == 3
    with pytest.raises(UserError, match="shrunk.pt: no neuron to remove is zero"):
        shrink(small, "shrunk.pt")


@translators
def test_hypotheses_of_the_shrunk_model_are_those_of_the_masked_one(options):
    cfg, model = build(options)
    mask(model, 0.5)
    source = batch(measured_part(model))[0]
    shrunk = model_of(shrink(checkpoint_of(cfg, model), "masked.pt"), "shrunk.pt")
    assert hypotheses(shrunk, source) == hypotheses(model, source)


@translators
def test_a_shrunk_model_is_pickled(options):
    cfg, model = build(options)
    shrunk = model_of(shrink(checkpoint_of(cfg, mask(model, 0.5)), "masked.pt"), "shrunk.pt")
    copy = pickle.loads(pickle.dumps(shrunk))
    inputs = batch(measured_part(model))
    torch.testing.assert_close(outputs(copy, inputs), outputs(shrunk, inputs), rtol=0, atol=0)


def test_what_language_pairs_share_is_stored_once():
    cfg, model = build(f"{TRANSLATORS['multilingual']} --share-encoders --share-decoders --share-all-embeddings")
    masked = {**checkpoint_of(cfg, mask(model, 0.5)), "model": dict(model.state_dict())}
    small = shrink(masked, "masked.pt")["model"]
    first, second = (small[f"models.{pair}.encoder.layers.0.fc1.weight"] for pair in ("de-en", "fr-en"))
    assert first.data_ptr() == second.data_ptr()
    shrunk = model_of(shrink(checkpoint_of(cfg, model), "masked.pt"), "shrunk.pt")
    assert shrunk.models["de-en"].encoder is shrunk.models["fr-en"].encoder


@pytest.mark.parametrize("feature_map", [*FEATURE_MAPS, "exp --causal-window 3"])
def test_a_shrunk_model_becomes_linear_and_is_pruned_again(feature_map):
    """Its heads are narrower, and so are the feature maps: fewer Mult-Adds than the other way round has."""
    cfg, model = build(f"transformer {SIZES}")
    mask(model, 0.5)
    softmax = shrink(checkpoint_of(cfg, model), "masked.pt")
    linear_cfg, linear = build(f"t2r_transformer {SIZES} --feature-map {feature_map}")
    linear.load_state_dict(dict(model.state_dict()))
    other_way = count_mult_adds(model_of(shrink(checkpoint_of(linear_cfg, linear), "linear.pt"), "linear.pt")).total

    options = linear_cfg.model
    options._name = options.arch = "pruned_t2r_transformer"
    options.pruned_widths = softmax["cfg"]["model"].pruned_widths
    small = build_model(options, task_of_sizes(VOCABULARY, VOCABULARY))
    small.load_state_dict(dict(softmax["model"]))
    inputs = batch(small)
    small(*inputs)[0].sum().backward()
    assert all(p.grad is not None for name, p in small.named_parameters() if "feature_map" in name)
    assert count_mult_adds(small).total < other_way

    pruned = mask(small.eval(), 0.3)
    again = model_of(shrink(checkpoint_of(linear_cfg, pruned), "pruned.pt"), "again.pt")
    expected = pruned(*inputs)[0]
    torch.testing.assert_close(again(*inputs)[0], expected, rtol=1e-4, atol=1e-5)
    again.make_generation_fast_()
    torch.testing.assert_close(again(*inputs)[0], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["lightconv", "fconv", "lstm", "nonautoregressive_transformer", "lightconv_lm"])
def test_models_that_cannot_be_shrunk_cannot_be_pruned(name):
    from fairseq.models import MODEL_REGISTRY

    model = MODEL_REGISTRY[name].__new__(MODEL_REGISTRY[name])
    with pytest.raises(UserError, match=f"architecture '{name}': cannot be pruned; those of transformer, "):
        check_prunable(model)


def test_weights_that_are_not_numbers_are_refused():
    cfg, model = build(f"transformer {SIZES}")
    checkpoint = checkpoint_of(cfg, mask(model, 0.5))
    checkpoint["model"]["encoder.layers.0.fc1.weight"][0] = float("nan")
    with pytest.raises(UserError, match=r"masked.pt: holds weights .*encoder.layers.0.fc1.weight"):
        shrink(checkpoint, "masked.pt")
