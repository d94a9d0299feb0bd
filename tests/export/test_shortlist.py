"""Shortlists: learnt as by the book, and the search finds what fairseq's finds with all other words banned."""

from collections import defaultdict

import numpy as np
import pytest
import torch
from exported import EOS, PAD, TRANSLATORS, VOCABULARY, build, session_of
from test_graphs import assert_same, found, of_fairseq, sources, whole

from fairseq_lite.errors import UserError
from fairseq_lite.export import shortlist as shortlists
from fairseq_lite.export.config import TRANSLATION, Config
from fairseq_lite.export.graphs import write
from fairseq_lite.export.shortlist import Shortlist, ibm_model_1, shortlist_of

WORDS = [f"word{number}" for number in range(VOCABULARY)]
EVERY_WORD = Shortlist(np.full((VOCABULARY, 1), EOS, np.uint16), np.arange(VOCABULARY))
BEAM = 4


def random_pairs(count=40, words=9):
    rng = np.random.default_rng(3)
    draw = lambda: np.append(rng.integers(4, words, rng.integers(1, 6)), EOS)  # noqa: E731
    return [(draw(), draw()) for _ in range(count)]


def by_the_book(pairs):
    """IBM model 1 over dictionaries of words."""
    table = defaultdict(lambda: 1.0)
    for _ in range(shortlists.ITERATIONS):
        counts, totals = defaultdict(float), defaultdict(float)
        for source, target in pairs:
            for word in target[:-1]:
                norm = sum(table[other, word] for other in source)
                for other in source:
                    counts[other, word] += table[other, word] / norm
                    totals[other] += table[other, word] / norm
        table = defaultdict(float, {pair: count / totals[pair[0]] for pair, count in counts.items()})
    return table


def test_the_lexicon_is_ibm_model_1():
    pairs = random_pairs()
    lexicon, table = ibm_model_1(pairs, VOCABULARY), by_the_book(pairs)
    assert len(lexicon.probability) == len(table)
    wanted = [table[pair] for pair in zip(lexicon.source, lexicon.target)]
    np.testing.assert_allclose(lexicon.probability, wanted, rtol=1e-9)


def test_a_shortlist_has_the_likeliest_words_the_word_itself_and_the_most_frequent(monkeypatch):
    monkeypatch.setattr(shortlists, "FREQUENT", 2)
    swap = {4: 7, 5: 4, 6: 5, 7: 6}
    rng = np.random.default_rng(0)
    drawn = [rng.permutation(list(swap))[: rng.integers(1, 4)] for _ in range(50)]
    pairs = [(np.append(s, EOS), np.append([swap[w] for w in s[::-1]], EOS)) for s in drawn]
    target = [*WORDS[:6], "other", *WORDS[7:]]
    found = shortlist_of(pairs, 2, WORDS, target)
    assert found.of_word.dtype == np.uint16 and found.of_word.shape == (VOCABULARY, 2)
    assert found.of_word[4:8].tolist() == [[7, 4], [4, 5], [5, EOS], [6, 7]]
    assert found.of_word[9].tolist() == [EOS, 9]
    assert set(range(4)) < set(found.always) and len(found.always) == 5


def with_shortlist(model, shortlist, bits=32, portable=False, **options):
    return session_of(write(model, Config(TRANSLATION, "tiny", bits, portable, options=options), shortlist))


@pytest.mark.parametrize("bits, portable", [(32, False), (8, False), (4, False), (4, True)])
@pytest.mark.parametrize("name", ["transformer", "all embeddings shared", "bart"])
def test_a_shortlist_of_all_words_changes_nothing(name, bits, portable):
    model, options, source = build(TRANSLATORS[name]), {"beam": BEAM, "max_len_b": 12}, sources().numpy()
    listed = with_shortlist(build_as(model, name), EVERY_WORD, bits, portable, **options)
    plain = whole(model, TRANSLATION, bits, portable, options=options)
    for beam in (1, BEAM):
        feed = {"source": source, "beam": np.array(beam)}
        assert_same(found(listed, feed), found(plain, feed))


def build_as(model, name):
    """Another model of the same weights."""
    other = build(TRANSLATORS[name])
    other.load_state_dict(model.state_dict())
    return other


def random_shortlist():
    of_word = np.random.default_rng(5).integers(4, VOCABULARY, (VOCABULARY, 3)).astype(np.uint16)
    of_word[PAD] = PAD
    return Shortlist(of_word, np.append(np.arange(4), 20))


class Banning:
    """A model whose logits of the words outside of a sentence's shortlist, and prefix, are -inf."""

    def __init__(self, model, shortlist):
        self.shortlist = shortlist
        model.decoder.output_projection.register_forward_hook(lambda *call: call[-1] + self.mask)
        self.model = model

    def finds(self, sentence, prefix=None, **options):
        allowed = [self.shortlist.of_word[sentence].ravel(), self.shortlist.always, *([] if prefix is None else prefix)]
        self.mask = torch.full((VOCABULARY,), -np.inf)
        self.mask[np.concatenate(allowed).astype(np.int64)] = 0
        net_input = {"src_tokens": sentence[None], "src_lengths": torch.tensor([len(sentence)])}
        return of_fairseq(self.model, net_input, prefix, **options)[0]


@pytest.mark.parametrize("options", [{}, {"no_repeat_ngram": 2}, {"min_len": 6, "unk_penalty": 1.0}], ids=str)
@pytest.mark.parametrize("name", ["transformer", "dynamic with GLU", "t2r"])
def test_a_batch_finds_what_fairseq_finds_with_other_words_banned(name, options):
    model, shortlist, source = build(TRANSLATORS[name]), random_shortlist(), sources()
    other = build_as(model, name)
    session = with_shortlist(other, shortlist, max_len_b=12)
    banning = Banning(model, shortlist)
    theirs = {"no_repeat_ngram_size" if name == "no_repeat_ngram" else name: n for name, n in options.items()}
    for beam in (1, BEAM):
        feed = {name: np.array(n, np.float32 if type(n) is float else np.int64) for name, n in options.items()}
        ours = found(session, {"source": source.numpy(), "beam": np.array(beam), **feed})
        rows = [row[row.ne(PAD)] for row in source]
        assert_same(ours, [banning.finds(row, beam_size=beam, max_len_b=12, **theirs) for row in rows])
        alone = [found(session, {"source": row[None].numpy(), "beam": np.array(beam), **feed})[0] for row in rows]
        assert_same(alone, ours)


def test_a_prefix_may_have_words_outside_of_the_shortlist():
    model, shortlist, source = build(TRANSLATORS["transformer"]), random_shortlist(), sources()
    session = with_shortlist(build_as(model, "transformer"), shortlist, max_len_b=12, beam=BEAM)
    prefix = torch.tensor([[30, 31], [32, PAD], [PAD, PAD]])
    ours = found(session, {"source": source.numpy(), "prefix": prefix.numpy()})
    assert [tokens[:2] for tokens, _ in ours[0]] == [[30, 31]] * BEAM
    assert {tokens[0] for tokens, _ in ours[1]} == {32}
    banning, row = Banning(model, shortlist), source[1]
    assert_same(ours[1:2], [banning.finds(row, prefix[1:2], beam_size=BEAM, max_len_b=12)])


def test_an_adaptive_softmax_takes_no_shortlist():
    with pytest.raises(UserError, match="^tiny: --shortlist: an adaptive softmax"):
        with_shortlist(build(TRANSLATORS["wider decoder"]), EVERY_WORD)
