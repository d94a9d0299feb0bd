"""The task of associative recall of examples/t2r."""

import random
from pathlib import Path

import pytest
import torch
from example_scripts import example
from fairseq.data import Dictionary

recall = example("t2r/recall.py")


def line(rng, pairs):
    """The pairs of a line: as they are seen, as they are asked for."""
    parts = recall.line(rng, pairs).split(f" {recall.ASK} ")
    return [list(zip(*[iter(part.split())] * 2)) for part in parts]


@pytest.mark.parametrize("pairs", recall.PAIRS)
def test_every_key_is_asked_for_once(pairs):
    seen, asked = line(random.Random(1), pairs)
    assert len(dict(seen)) == pairs and sorted(seen) == sorted(asked)
    assert pairs == 2 or seen != asked


def test_two_pairs_are_asked_for_in_both_orders():
    rng = random.Random(1)
    lines = [line(rng, 2) for _ in range(20)]
    assert {seen == asked for seen, asked in lines} == {True, False}


def test_the_same_lines_are_made_again(tmp_path, monkeypatch):
    monkeypatch.setattr(recall, "LINES", {"train": 5, "test": 3})
    for folder in ("one", "two"):
        recall.make(tmp_path / folder)
    texts = [(tmp_path / folder / "train.txt").read_text() for folder in ("one", "two")]
    assert texts[0] == texts[1] and len(texts[0].splitlines()) == 5


def test_right_answers_are_counted(monkeypatch):
    dictionary = Dictionary()
    lines = ["k1 v1 k2 v2 ? k2 v2 k1 v1", "k1 v3 ? k1 v3"]
    encoded = [dictionary.encode_line(line, line_tokenizer=str.split, add_if_not_exist=True) for line in lines]

    def always_v2(tokens):
        return torch.nn.functional.one_hot(torch.full_like(tokens, dictionary.index("v2")), len(dictionary)), None

    monkeypatch.setattr(recall.Dictionary, "load", lambda path: dictionary)
    monkeypatch.setattr(recall.data_utils, "load_indexed_dataset", lambda path, dictionary: encoded)
    monkeypatch.setattr(recall, "load_model", lambda path: always_v2)
    assert recall.score(Path(), "x.pt") == {1: 0.0, 2: 0.5}
