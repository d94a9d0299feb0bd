"""The search in the graph finds what fairseq's generator finds."""

import numpy as np
import pytest
import torch
from search_toy import WORDS, Weights, generator, language_model, of_language_model, translator

WEIGHTS = Weights(24)


@pytest.fixture(scope="module")
def search():
    return translator(WEIGHTS, max_target=40)


def sources(sentences=5, longest=9, seed=3):
    random = np.random.default_rng(seed)
    batch = np.full((sentences, longest), WORDS.pad)
    for row in batch:
        length = random.integers(2, longest + 1)
        row[: length - 1] = random.integers(4, WEIGHTS.vocabulary, length - 1)
        row[length - 1] = WORDS.eos
    batch[0, :] = random.integers(4, WEIGHTS.vocabulary, longest)
    batch[0, -1] = WORDS.eos
    return batch


def run(session, source, prefix=None, **options):
    """Lists of (tokens, score), one list a sentence; hypotheses that never ended are left out."""
    kinds = {"lenpen": np.float32, "unk_penalty": np.float32, "max_len_a": np.float32}
    feed = {name: np.array(value, kinds.get(name, np.int64)) for name, value in options.items()}
    if source is not None:
        feed["source"] = source
    feed["prefix"] = np.zeros((len(source), 0), np.int64) if prefix is None else prefix
    tokens, scores, lengths = session.run(None, feed)
    return [
        [(list(t[:n]), float(s)) for t, s, n in zip(*sentence) if n > 0] for sentence in zip(tokens, scores, lengths)
    ]


def of_fairseq(source, prefix=None, weights=WEIGHTS, max_target=40, **options):
    made = generator(weights, max_target, **options)
    sample = {"net_input": {"src_tokens": torch.from_numpy(source)}}
    found = made.generate([], sample, prefix_tokens=None if prefix is None else torch.from_numpy(prefix))
    return [[(h["tokens"].tolist(), float(h["score"])) for h in sentence] for sentence in found]


def assert_same(ours, theirs):
    assert [[tokens for tokens, _ in sentence] for sentence in ours] == [
        [tokens for tokens, _ in sentence] for sentence in theirs
    ]
    np.testing.assert_allclose(
        [score for sentence in ours for _, score in sentence],
        [score for sentence in theirs for _, score in sentence],
        atol=1e-5,
        rtol=1e-5,
    )


NAMES = {"beam": "beam_size", "lenpen": "len_penalty"}
OPTIONS = [
    {},
    {"lenpen": 0.3},
    {"lenpen": 2.0},
    {"unk_penalty": 2.0},
    {"unk_penalty": -5.0},
    {"min_len": 0},
    {"min_len": 6},
    {"min_len": 12, "max_len_b": 12},
    {"max_len_b": 3},
    {"max_len_b": 0, "min_len": 0},
    {"max_len_b": 60},
]


@pytest.mark.parametrize("beam", [1, 2, 4])
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_options_and_beams(search, options, beam):
    source = sources()
    ours = run(search, source, beam=beam, **options)
    assert_same(ours, of_fairseq(source, **{NAMES.get(k, k): v for k, v in {"beam": beam, **options}.items()}))


@pytest.mark.parametrize("beam", [1, 4])
def test_a_sentence_alone_is_as_in_a_batch(search, beam):
    source = sources(7)
    alone = [run(search, row[None, : np.argmax(row == WORDS.eos) + 1], beam=beam)[0] for row in source]
    assert_same(run(search, source, beam=beam), alone)


@pytest.mark.parametrize("beam", [1, 4])
def test_the_longest_length_follows_the_sentence_not_its_padding(search, beam):
    options = {"max_len_a": 0.5, "max_len_b": 2}
    source = sources(7)
    alone = [row[None, : np.argmax(row == WORDS.eos) + 1] for row in source]
    theirs = [of_fairseq(row, beam_size=beam, **options)[0] for row in alone]
    assert_same(run(search, source, beam=beam, **options), theirs)


PREFIXES = np.array([[5, 6, 7], [8, 1, 1], [1, 1, 1], [9, 3, 1], [1, 5, 1]])


@pytest.mark.parametrize("options", [{}, {"min_len": 3}, {"max_len_b": 2}, {"unk_penalty": 1.0}], ids=str)
@pytest.mark.parametrize("beam", [1, 4])
def test_prefixes_have_their_own_lengths(search, beam, options):
    source = sources()
    names = {"beam_size": beam, **options}
    own = [prefix[: np.flatnonzero(prefix != WORDS.pad).max(initial=-1) + 1] for prefix in PREFIXES]
    theirs = [of_fairseq(row[None], prefix=prefix[None], **names)[0] for row, prefix in zip(source, own)]
    assert_same(run(search, source, PREFIXES, beam=beam, **options), theirs)


@pytest.mark.parametrize("beam", [1, 4])
def test_a_prefix_that_ends_finishes_its_sentence(search, beam):
    source, prefix = sources(2), np.array([[5, 2, 1], [8, 9, 1]])
    ours = run(search, source, prefix, beam=beam, min_len=4)
    assert [tokens for tokens, _ in ours[0]] == [[5, 2]]
    theirs = of_fairseq(source[:1], prefix=prefix[:1, :2], beam_size=beam, min_len=4)
    assert_same([ours[0][:1]], [theirs[0][:1]])
    assert len(ours[1]) == beam


@pytest.mark.parametrize("beam", [1, 4])
@pytest.mark.parametrize("size", [2, 3, 4, 7])
def test_no_repeated_ngrams(search, beam, size):
    source = sources()
    options = {"min_len": 25, "max_len_b": 30}
    theirs = of_fairseq(source, beam_size=beam, no_repeat_ngram_size=size, **options)
    ours = run(search, source, beam=beam, no_repeat_ngram=size, **options)
    assert_same(ours, theirs)
    for tokens, _ in (found for sentence in ours for found in sentence):
        grams = [tuple(tokens[i : i + size]) for i in range(len(tokens) - size + 1)]
        assert len(set(grams)) == len(grams)


def test_no_word_twice(search):
    for sentence in run(search, sources(), beam=2, no_repeat_ngram=1, max_len_b=30):
        assert sentence and all(len(set(tokens)) == len(tokens) for tokens, _ in sentence)


def test_the_best_beam_comes_first(search):
    tokens, scores, lengths = search.run(None, {"source": sources(), "prefix": np.zeros((5, 0), np.int64)})
    assert tokens.shape[:2] == scores.shape == lengths.shape == (5, 5)
    assert (np.diff(scores) <= 0).all() and tokens.shape[2] == lengths.max()
    for row, length in zip(tokens.reshape(25, -1), lengths.ravel()):
        assert row[length - 1] == WORDS.eos and (row[length:] == WORDS.pad).all()


@pytest.mark.parametrize("vocabulary", [7, 23, 24, 1030])
@pytest.mark.parametrize("beam", [1, 3])
def test_vocabularies_of_any_size(vocabulary, beam):
    weights = Weights(vocabulary, seed=vocabulary)
    source = np.array([[4, 5, 2], [6, 2, 1]])
    assert_same(
        run(translator(weights), source, beam=beam, max_len_b=9),
        of_fairseq(source, weights=weights, max_target=None, beam_size=beam, max_len_b=9),
    )


def test_a_beam_wider_than_the_vocabulary(search):
    source = sources(2)
    tokens, scores, _ = search.run(
        None, {"source": source, "prefix": np.zeros((2, 0), np.int64), "beam": np.array(99), "max_len_b": np.array(4)}
    )
    assert scores.shape == (2, WEIGHTS.vocabulary - 1) and np.isfinite(scores[:, :5]).all()


@pytest.mark.parametrize("beam", [1, 4])
def test_scores_that_are_not_numbers_end(beam):
    healthy, poisoned = Weights(24), Weights(24, poison=7)
    source, prefix = sources(3), np.array([[7], [8], [1]])
    ours = run(translator(poisoned), source, prefix, beam=beam, max_len_b=12)
    assert ours[0] == []
    assert all(7 not in tokens[:-1] for sentence in ours for tokens, _ in sentence)
    assert len(run(translator(healthy), source, prefix, beam=beam, max_len_b=12)[0]) == beam


@pytest.mark.parametrize("start", [WORDS.eos, 0])
@pytest.mark.parametrize("beam", [1, 4])
def test_language_models_go_on_from_their_prompts(beam, start):
    session = language_model(WEIGHTS, start, max_target=30)
    prompts = np.array([[5, 6, 7], [8, 9, 1], [4, 1, 1]])
    ours = run(session, None, prompts, beam=beam)
    theirs = []
    for prompt in prompts:
        prompt = prompt[prompt != WORDS.pad]
        theirs += of_language_model(WEIGHTS, prompt, start, max_target=30, beam_size=beam)
    assert_same(ours, theirs)


@pytest.mark.parametrize("beam", [1, 3])
def test_the_longest_length_wins_over_the_least(search, beam):
    ours = run(search, sources(), beam=beam, min_len=20, max_len_b=4)
    assert [len(tokens) for sentence in ours for tokens, _ in sentence] == [5] * 5 * beam


def test_a_beam_of_none_is_one(search):
    assert_same(run(search, sources(), beam=0), run(search, sources(), beam=1))
