"""examples/distillation: which translation becomes a target, the shards, and what a second run repeats."""

import contextlib
import io
import re
import sys

import pytest
from example_scripts import example
from fairseq import options
from fairseq_cli import generate
from sacrebleu import sentence_bleu
from stand_ins import TRAIN, StandIns, filled
from untrained import binarise, configured, write_untrained

targets = example("distillation/targets.py")

NBEST = """S-1\t▁a
H-1\t-0.1\t▁the ▁cat
D-1\t-0.1\t▁the ▁cat
H-1\t-0.2\t▁a ▁c at ▁sat
H-1\t-0.3\t▁a ▁cat ▁sat
H-0\t-0.5\t▁no
"""
REFERENCES = "▁no ▁thing\n▁a ▁cat ▁sat ▁down\n▁too ▁long\n"
EXPECTED = {"best": "▁no\n▁the ▁cat\n▁too ▁long\n", "nearest": "▁no\n▁a ▁c at ▁sat\n▁too ▁long\n"}


@pytest.fixture
def texts(tmp_path):
    (tmp_path / "nbest").write_text(NBEST)
    (tmp_path / "references").write_text(REFERENCES)
    return tmp_path


def pick(monkeypatch, folder, name):
    given = ["targets.py", name, "--references", "references", "nbest", "out"]
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "argv", given)
    targets.main()
    return (folder / "out").read_text()


@pytest.mark.parametrize("name", EXPECTED)
def test_the_targets_of_three_sentences(texts, monkeypatch, capsys, name):
    # of two translations of the same words the more probable one is taken
    assert pick(monkeypatch, texts, name) == EXPECTED[name]
    assert capsys.readouterr().err.startswith("3 targets, of which 1 not translated")


def test_none_of_the_list_is_nearer_than_the_nearest():
    reference, *nbest = "▁a ▁b ▁c ▁d ▁e", "▁a ▁b", "▁c ▁d ▁e", "▁a ▁b ▁c ▁e ▁d", "▁e"
    scores = {
        text: sentence_bleu(text.replace("▁", ""), [reference.replace("▁", "")], use_effective_order=True).score
        for text in nbest
    }
    assert targets.nearest(nbest, reference) == max(scores, key=scores.get)


def test_translations_of_other_data_are_refused(texts, monkeypatch):
    (texts / "references").write_text("one\n")
    with pytest.raises(SystemExit, match="--references: has 1 lines and the translations a sentence 1"):
        pick(monkeypatch, texts, "best")


def test_shards_hold_each_sentence_once(tmp_path):
    binarise(tmp_path)
    teacher = tmp_path / "teacher.pt"
    write_untrained(tmp_path, "transformer_tiny", "--encoder-layers 1 --decoder-layers 1", [str(teacher)])
    numbers = []
    for shard in (0, 1):
        text = "--cpu --gen-subset train --batch-size 1 --max-len-b 3"
        cfg = configured(options.get_generation_parser(), [tmp_path / "mt", "--path", teacher, *text.split()])
        cfg.distributed_training.update(distributed_world_size=2, distributed_rank=shard)
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            generate.main(cfg)
        numbers += re.findall(r"^H-(\d+)", printed.getvalue(), re.MULTILINE)
    assert sorted(numbers) == [str(number) for number in range(6)]


PROGRAMS = {
    "fairseq-generate": r"""case "$*" in *'train '*) printf 'H-0\t-1\t▁a\n' ;; *) printf 'D-0\t-1\ta\n' ;; esac""",
    "fairseq-preprocess": 'mkdir "${!#}"; echo a 1 >"${!#}/dict.de.txt"',
    "fairseq-train": TRAIN,
    "sacrebleu": "echo 30.00",
}


def test_a_second_run_repeats_the_shard_that_is_missing(tmp_path):
    out, programs = tmp_path / "out", StandIns(tmp_path / "programs", PROGRAMS)
    names = ("binary/dict.en.txt", "binary/dict.de.txt", "text/train.en", "text/train.de", "reference.de")
    data = filled(tmp_path / "data", *names)
    filled(tmp_path, "teacher.pt")

    def run(**environment):
        return programs.run("distillation/run.sh", data, tmp_path / "teacher.pt", out, SHARDS="2", **environment).stdout

    assert run().splitlines() == ["references 30.00", "best 30.00", "nearest 30.00"]
    assert (out / "best/text/train.de").read_text() == "▁a\n"
    first = programs.calls()
    assert len(first["fairseq-generate"]) == 2 + 3 and len(first["fairseq-preprocess"]) == 2
    (out / "nbest/1-of-2").unlink()
    (out / "best/text/train.de").unlink()
    run(TARGETS="best")
    again = programs.calls()
    (shard,) = [call for call in again["fairseq-generate"] if "train" in call]
    assert shard[-2:] == ["--distributed-rank", "1"] and not again["fairseq-preprocess"]
