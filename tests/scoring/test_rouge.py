"""fairseq's scorer of ROUGE against rouge-score on the same summaries."""

import sys

import pytest
from fairseq.scoring import build_scorer
from rouge_score.rouge_scorer import RougeScorer as Library

from fairseq_lite.errors import UserError
from fairseq_lite.scoring.rouge import KINDS, RougeOptions, RougeScorer

PAIRS = [
    ("meeting on Monday is cancelled", "Monday's meetings cancelled"),
    ("draft of the contract . sign it", "sign the contract . a draft"),
    ("lunch", "dinner"),
]


def scored(pairs, **options):
    scorer = RougeScorer(RougeOptions(**options))
    for pair in pairs:
        scorer.add_string(*pair)
    return scorer


def by_library(pairs, kind, stems=True):
    scores = [Library([kind], use_stemmer=stems).score(*pair)[kind].fmeasure for pair in pairs]
    return 100 * sum(scores) / len(scores)


@pytest.mark.parametrize("unstemmed", [False, True])
def test_means_are_those_of_the_library(unstemmed):
    means = scored(PAIRS, rouge_unstemmed=unstemmed).means()
    expected = {name: by_library(PAIRS, kind, not unstemmed) for name, kind in KINDS.items()}
    assert means == pytest.approx(expected) and 0 < means["ROUGE-2"] < means["ROUGE-1"]


def test_sentences_are_lines_to_the_library():
    lines = [[text.replace(" . ", "\n") for text in pair] for pair in PAIRS]
    means = scored(PAIRS, rouge_sentence_separator=" . ").means()
    assert means["ROUGE-L"] < means["ROUGE-Lsum"] == pytest.approx(by_library(lines, "rougeLsum"))


def test_unknown_words_never_match():
    assert scored([("call <<unk>> today", "call <unk> today")]).means()["ROUGE-2"] == 0


def test_fairseq_builds_it_by_name():
    scorer = build_scorer("rouge", tgt_dict=None)
    scorer.add_string(*PAIRS[0])
    assert f"ROUGE-L = {scorer.score():.2f} (F1, mean of 1, stemmed" in scorer.result_string()


def test_the_library_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "rouge_score", None)
    with pytest.raises(UserError, match=r"^--scoring rouge: .*rouge_score.*; pip install rouge-score$"):
        scored([])


def test_an_empty_separator_is_refused():
    with pytest.raises(UserError, match="--rouge-sentence-separator"):
        scored([], rouge_sentence_separator="")
