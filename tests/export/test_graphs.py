"""The whole graphs find what fairseq's generator finds, for one sentence as for many."""

import numpy as np
import pytest
import torch
from exported import EOS, LANGUAGE_MODELS, PAD, TRANSLATORS, VOCABULARY, build, session_of
from fairseq.sequence_generator import SequenceGenerator

from fairseq_lite.building import dictionary_of_size
from fairseq_lite.export import matrices
from fairseq_lite.export.config import LANGUAGE_MODEL, TRANSLATION, Config
from fairseq_lite.export.graphs import write

BEAM = 4


def whole(model, kind, bits=32, portable=False, **options):
    """A session of the whole graph."""
    return session_of(write(model, Config(kind, "tiny", bits, portable, **options)))


def sources():
    """Three sentences that end with eos: [3, 9]."""
    tokens = torch.randint(4, VOCABULARY, (3, 9))
    for row, length in zip(tokens, (6, 9, 3)):
        row[length - 1] = EOS
        row[length:] = PAD
    return tokens


def found(session, feed):
    """(tokens, score) of the hypotheses of each sentence."""
    tokens, scores, lengths = session.run(None, feed)
    return [[(t[:n].tolist(), s) for t, s, n in zip(*sentence) if n > 0] for sentence in zip(tokens, scores, lengths)]


def of_fairseq(model, net_input, prefix=None, **options):
    if hasattr(model, "set_beam_size"):  # the generator sets it only where it is more than 1
        model.set_beam_size(options["beam_size"])
    generator = SequenceGenerator([model], dictionary_of_size(VOCABULARY), **options)
    hypotheses = generator.generate([], {"net_input": net_input}, prefix_tokens=prefix)
    return [[(h["tokens"].tolist(), float(h["score"])) for h in sentence] for sentence in hypotheses]


def assert_same(ours, theirs, atol=1e-5):
    """The same hypotheses; those of equal scores may change places."""
    ours, theirs = ([sorted(sentence) for sentence in side] for side in (ours, theirs))
    assert [[tokens for tokens, _ in sentence] for sentence in ours] == [
        [tokens for tokens, _ in sentence] for sentence in theirs
    ]
    scores = [[score for sentence in side for _, score in sentence] for side in (ours, theirs)]
    np.testing.assert_allclose(*scores, rtol=0, atol=atol)


@pytest.mark.parametrize("options", TRANSLATORS.values(), ids=TRANSLATORS)
def test_a_translator_finds_what_fairseq_finds(options):
    model = build(options)
    session = whole(model, TRANSLATION, options={"beam": BEAM, "max_len_b": 12})
    source = sources()
    net_input = {"src_tokens": source, "src_lengths": source.ne(PAD).sum(1)}
    ours = found(session, {"source": source.numpy()})
    assert_same(ours, of_fairseq(model, net_input, beam_size=BEAM, max_len_b=12))
    alone = [found(session, {"source": row[None, row.ne(PAD)].numpy()})[0] for row in source]
    assert_same(alone, ours)
    greedy = found(session, {"source": source.numpy(), "beam": np.array(1)})
    assert_same(greedy, of_fairseq(model, net_input, beam_size=1, max_len_b=12))


@pytest.mark.parametrize("options", LANGUAGE_MODELS.values(), ids=LANGUAGE_MODELS)
def test_a_language_model_continues_prompts_as_in_fairseq(options):
    model = build(options)
    session = whole(model, LANGUAGE_MODEL, options={"beam": BEAM, "max_len_b": 12})
    prompts = torch.randint(4, VOCABULARY, (3, 4))
    net_input = {"src_tokens": torch.cat([torch.full((3, 1), EOS), prompts], 1)}
    wanted = of_fairseq(model, net_input, prompts, beam_size=BEAM, max_len_b=12)
    assert_same(found(session, {"prefix": prompts.numpy()}), wanted)


@pytest.fixture
def all_large(monkeypatch):
    """Every matrix multiplied as large ones are."""
    monkeypatch.setattr(matrices, "SMALLEST", 1)
    monkeypatch.setattr(matrices, "LARGE", 1)


FEW_BITS = [
    "transformer",
    "all embeddings shared",
    "dynamic with GLU",
    "t2r",
    "wider decoder",
    "exp",
    "window, some softmax",
]


@pytest.mark.parametrize("bits", [8, 4])
@pytest.mark.parametrize("name", FEW_BITS)
def test_a_sentence_alone_equals_the_sentence_in_a_batch_in_few_bits(name, bits, all_large):
    session = whole(build(TRANSLATORS[name]), TRANSLATION, bits, options={"beam": BEAM, "max_len_b": 12})
    source = sources()
    together = found(session, {"source": source.numpy()})
    alone = [found(session, {"source": row[None, row.ne(PAD)].numpy()})[0] for row in source]
    assert_same(alone, together)


@pytest.mark.parametrize("name", ["lightweight", "some softmax", "recurrent branch with a window", "gated"])
def test_portable_finds_the_same_in_8_bits(name, all_large):
    model, source = build(TRANSLATORS[name]), sources()
    sides = [whole(model, TRANSLATION, 8, portable, options={"max_len_b": 12}) for portable in (False, True)]
    assert_same(*(found(session, {"source": source.numpy()}) for session in sides))


@pytest.mark.parametrize("bits", [8, 4])
def test_an_adaptive_language_model_in_few_bits_is_near_itself(bits, all_large):
    model = build(LANGUAGE_MODELS["adaptive and tied"])
    prompts = np.full((1, 2), 7)
    exact, coarse = (
        found(whole(model, LANGUAGE_MODEL, b, options={"beam": 1, "max_len_b": 3}), {"prefix": prompts})[0][0][1]
        for b in (32, bits)
    )
    assert abs(exact - coarse) < {8: 0.05, 4: 0.5}[bits]
