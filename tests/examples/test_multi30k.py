"""examples/multi30k/compare.sh: the models have the same Mult-Adds, and each is trained and scored once."""

import pytest
from fairseq import options
from fairseq.models import build_model
from stand_ins import TRAIN, StandIns, filled

from fairseq_lite.building import task_of_sizes
from fairseq_lite.measure.mult_adds import count_mult_adds

MODELS = ["lite", "flat", "transformer-6", "transformer-3", "lightconv", "evolved"]
PROGRAMS = {
    "fairseq-train": TRAIN,
    "fairseq-generate": r"""printf 'D-0\t0\ttext\n'; echo "Generate valid with beam=5: BLEU = 38.25 69.0/44.0" """,
    "sacrebleu": r"""printf '{\n "name": "BLEU",\n "score": 37.50,\n "signature": "13a"\n}\n'""",
    "fairseq-lite": 'echo " total 54.71 M 4.59 M"; echo "   without embeddings 2.67 M"',
}


@pytest.fixture
def programs(tmp_path):
    return StandIns(tmp_path / "programs", PROGRAMS)


@pytest.fixture
def data(tmp_path):
    return filled(tmp_path / "data", "binary/dict.de.txt", "reference.de")


def test_a_table_of_models_of_the_same_mult_adds(programs, data, tmp_path):
    process = programs.run("multi30k/compare.sh", data, tmp_path / "out", "--cpu")
    columns = "54.71 M | 2.67 M | 38.25 | 37.50"
    assert process.stdout.splitlines()[-len(MODELS) :] == [f"| {model}, seed 1 | {columns} |" for model in MODELS]
    counted = []
    for line in programs.calls()["fairseq-train"]:
        at = line.index("--user-dir")
        args = options.parse_args_and_arch(options.get_training_parser(), line[:at] + line[at + 2 :])
        assert (args.max_update, args.dropout, args.cpu) == (5520, 0.2, True)
        counted.append(count_mult_adds(build_model(args, task_of_sizes(1000, 1000)), 30, 30).total)
    assert counted == [pytest.approx(counted[0], rel=0.03)] * len(MODELS)


def test_what_is_there_is_not_made_again(programs, data, tmp_path):
    for models, seeds in (("lite", "1"), ("lite flat", "1 2")):
        programs.run("multi30k/compare.sh", data, tmp_path / "out", MODELS=models, SEEDS=seeds)
    calls = programs.calls()
    assert len(calls["fairseq-train"]) == 4 and len(calls["fairseq-generate"]) == 8


def test_models_learn_from_a_teachers_translations_and_are_scored_against_the_references(programs, data, tmp_path):
    learnt = filled(tmp_path / "best", "binary/dict.de.txt")
    process = programs.run("multi30k/compare.sh", data, tmp_path / "out", MODELS="edge", LEARN=str(learnt))
    assert process.stdout.splitlines()[-1].startswith("| edge, seed 1 | ")
    calls = programs.calls()
    assert calls["fairseq-train"][0][0] == str(learnt / "binary")
    assert {call[0] for call in calls["fairseq-generate"]} == {str(data / "binary")}


@pytest.mark.parametrize("dictionary", ["", "other\n"], ids=["none", "another"])
def test_translations_with_another_dictionary_are_refused(programs, data, tmp_path, dictionary):
    learnt = filled(tmp_path / "best", "binary/dict.de.txt")
    (learnt / "binary/dict.de.txt").write_text(dictionary)
    process = programs.run("multi30k/compare.sh", data, tmp_path / "out", LEARN=str(learnt), succeeds=False)
    assert process.stderr.startswith(f"compare.sh: LEARN: '{learnt}' has no dictionary like that of '{data}'")
    assert not (tmp_path / "out").exists()


def test_an_unknown_model_is_named(programs, data, tmp_path):
    process = programs.run("multi30k/compare.sh", data, tmp_path / "out", MODELS="huge", succeeds=False)
    assert process.stderr.startswith("compare.sh: MODELS: huge is none of ")
