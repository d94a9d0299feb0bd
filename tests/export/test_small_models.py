"""Models that are shrunk, compressed, or encoders with a head, as graphs."""

import numpy as np
import pytest
import torch
from exported import PAD, TINY, TRANSLATORS, build, session_of
from models import MODELS, classifier, mask, shrunk
from models import build as build_unpruned
from test_graphs import assert_same, found, of_fairseq, sources, whole
from test_steps import check_language_model, check_translator

from fairseq_lite.compression.scheme import Scheme
from fairseq_lite.compression.states import first_of_equals, seal_state, unseal_state
from fairseq_lite.export import matrices
from fairseq_lite.export.affines import Matrix
from fairseq_lite.export.config import CLASSIFICATION, TRANSLATION, Config
from fairseq_lite.export.graph import Graph
from fairseq_lite.export.graphs import write
from fairseq_lite.export.matrices import Float32
from fairseq_lite.pruning import cuts

BITS = [32, 8, 4]
# of log-probabilities after a classification head
ERRORS = {32: 1e-5, 8: 0.1, 4: 1.0}


def pruned(name, part=0.6):
    return shrunk(MODELS[name], mask(build_unpruned(MODELS[name]), part))


GENERATORS = [name for name in MODELS if name not in ("roberta", "pre-norm", "transformer_lm", "t2r_transformer_lm")]
SHRUNK = [(name, False) for name in GENERATORS] + [("transformer", True), ("dynamic with GLU", True)]


@pytest.mark.parametrize("large", [False, True], ids=["rows of zeros", "zeros between"])
@pytest.mark.parametrize("name, inflated", SHRUNK)
def test_a_shrunk_model_steps_as_in_fairseq(name, inflated, large, monkeypatch):
    if inflated:
        monkeypatch.setattr(cuts, "INFLATION_PAYS_FOR", 1)
    if large:
        monkeypatch.setattr(matrices, "LARGE", 1)
    model = pruned(name)
    (check_language_model if "_lm" in name else check_translator)(model)


def test_a_model_with_nothing_left_steps_as_in_fairseq():
    check_translator(pruned("transformer", 1.0))


def inputs():
    tokens = torch.randint(4, 50, (3, 7))
    tokens[:, 0] = 0
    tokens[1, 4:] = PAD
    return tokens


@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize("make", [classifier, lambda: pruned("roberta")], ids=["dense", "shrunk"])
def test_a_classifier_tells_what_it_tells_in_fairseq(make, bits, monkeypatch):
    monkeypatch.setattr(matrices, "LARGE", 1)
    model, tokens = make().eval(), inputs()
    session = whole(model, CLASSIFICATION, bits)
    with torch.no_grad():
        logits = model(tokens, features_only=True, classification_head_name="head")[0]
    scores = session.run(None, {"source": tokens.numpy()})[0]
    np.testing.assert_allclose(scores, logits.log_softmax(-1), rtol=0, atol=ERRORS[bits])
    alone = session.run(None, {"source": tokens[1:2, :4].numpy()})[0]
    np.testing.assert_allclose(alone, scores[1:2], rtol=0, atol=1e-5)


def compressed(model, bits):
    state = model.state_dict()
    model.load_state_dict(unseal_state(seal_state(state, Scheme(bits=bits), first_of_equals(state))))
    return model


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_a_compressed_matrix_is_what_it_was_to_the_bit(bits):
    levels = np.random.default_rng(0).standard_normal(2**bits).astype(np.float32)
    entries = levels[np.random.default_rng(1).integers(0, 2**bits, (64, 51))]
    g = Graph("rows")
    ids = g.input("ids", np.int64, ["N"])
    g.output("rows", Float32().rows(g, ids, Matrix("weight", entries)), np.float32, ["N", 51])
    model = g.model({})
    assert np.array_equal(session_of(model).run(None, {"ids": np.arange(64)})[0], entries)
    assert len(model.SerializeToString()) < 64 * -(-51 * bits // 8) + levels.nbytes + 1500


@pytest.mark.parametrize("name", ["lightweight", "transformer"])
def test_a_compressed_model_finds_what_fairseq_finds_and_stays_small(name):
    # many entries a matrix, so that what is not compressed hardly counts
    model = build(TRANSLATORS[name].replace(TINY, TINY.replace("dim 16", "dim 64").replace("dim 24", "dim 128")))
    plain = len(whole_bytes(model))
    model, source = compressed(model, 4), sources()
    net_input = {"src_tokens": source, "src_lengths": source.ne(PAD).sum(1)}
    ours = found(whole(model, TRANSLATION, options={"beam": 2, "max_len_b": 8}), {"source": source.numpy()})
    assert_same(ours, of_fairseq(model, net_input, beam_size=2, max_len_b=8))
    entries = sum(p.numel() for p in model.parameters() if p.numel() >= 1024)
    assert plain - len(whole_bytes(model)) > 0.8 * 3.5 * entries


def whole_bytes(model):
    return write(model, Config(TRANSLATION, "tiny", 32, portable=False)).SerializeToString()
