"""The search in the graph finds what fairseq's generator finds."""

import numpy as np
import pytest
import torch
from search_toy import WORDS, Weights, generator, translator

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
    inputs = {item.name: item.type for item in session.get_inputs()}
    inputs.update(session.get_overridable_initializers() and {})
    kinds = {"lenpen": np.float32, "unk_penalty": np.float32, "max_len_a": np.float32}
    feed = {name: np.array(value, kinds.get(name, np.int64)) for name, value in options.items()}
    feed["prefix"] = np.zeros((len(source), 0), np.int64) if prefix is None else prefix
    tokens, scores, lengths = session.run(None, {"source": source, **feed})
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
