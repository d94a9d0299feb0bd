"""examples/pipeline: the table, the options of each step, and that a step starts from the one before."""

import pytest
from example_scripts import example
from stand_ins import TRAIN, StandIns, filled

from fairseq_lite.tasks.inherited_options import declared_options

summary, continuing = example("pipeline/summary.py"), example("common/continuing.py")
PROGRAMS = {
    "python": """case $1 in
        *continuing.py) echo --pretrained "$2" "${3:-}" ;;
        *measure.py) echo {} >"${!#}" ;;
        *summary.py) echo "${@:3}" ;;
    esac""",
    "fairseq-train": TRAIN,
    # average IN OUT, shrink IN OUT, compress IN OUT ..., export IN OUT ...
    "fairseq-lite": 'cp "$2" "$3"',
}


def test_table_compares_with_the_first_step():
    steps = {
        "fairseq": dict(bytes=2000, tokens=100, seconds=2, memory=4e8, bleu=30.5),
        "folder": dict(bytes=100, tokens=100, seconds=0.1, memory=8e7, bleu=30.25, mult_adds=5_440_000),
    }
    assert summary.table(steps).splitlines()[2:] == [
        "| fairseq | 2,000 | 1.0 |  | 50 | 1.0 | 400 MB | 30.50 | +0.00 |",
        "| folder | 100 | 20.0 | 5.4 M | 1000 | 20.0 | 80 MB | 30.25 | -0.25 |",
    ]


ARCHITECTURES = {
    "transformer": "t2r_transformer",
    "transformer_tiny": "t2r_transformer",
    "pruned_transformer": "pruned_t2r_transformer",
    "lite_transformer_iwslt_de_en": "lite_transformer_iwslt_de_en",
    "pruned_lite_transformer": "pruned_lite_transformer",
}


@pytest.fixture
def checkpoint_of(monkeypatch):
    """Lets a path be a checkpoint of an architecture."""
    monkeypatch.setattr(continuing, "read_checkpoint", lambda path: path)
    monkeypatch.setattr(continuing, "model_options", lambda checkpoint, path: None)
    return lambda name: monkeypatch.setattr(continuing, "architecture_of", lambda options: name)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_options_of_a_step_are_those_of_its_architecture(name, checkpoint_of):
    checkpoint_of(name)
    plain, recurrent = (continuing.options("x.pt", wanted).split() for wanted in (False, True))
    found = [line[line.index("--arch") + 1] for line in (plain, recurrent)]
    assert found == [name, ARCHITECTURES[name]]
    assert ("--pruned-widths" in plain) == ("--pruned-widths" in recurrent) == name.startswith("pruned_")
    linear = {word[2:].replace("-", "_") for word in recurrent if word.startswith("--") and word not in plain}
    assert len(linear) == 3 and linear <= declared_options(found[1])


def test_what_cannot_become_recurrent_is_named(checkpoint_of):
    checkpoint_of("evolved_transformer")
    with pytest.raises(SystemExit, match="x.pt: architecture evolved_transformer"):
        continuing.options("x.pt", True)


@pytest.fixture
def programs(tmp_path):
    return StandIns(tmp_path / "programs", PROGRAMS)


@pytest.fixture
def data(tmp_path):
    return filled(tmp_path / "data", "binary/dict.de.txt", "reference.de")


def starts(line):
    return next((line[at + 1].rsplit("/")[-1] for at, word in enumerate(line) if word == "--pretrained"), None)


def test_each_step_starts_from_the_one_before_and_is_done_once(programs, data, tmp_path):
    run = lambda *steps: programs.run("pipeline/run.sh", data, tmp_path / "out", *steps).stdout  # noqa: E731
    names = ["fairseq", "transformer", "student", "quantised", "quantised-8", "quantised-4"]
    assert run("student", "quantised").split()[:6] == names
    calls = programs.calls()
    assert [starts(line) for line in calls["fairseq-train"]] == [None, None, "student.pt"]
    bits = [(line[1].rsplit("/")[-1], line[4]) for line in calls["fairseq-lite"] if line[0] == "export"]
    assert bits == [(f"{name}.pt", "32") for name in names[1:4]] + [("quantised.pt", "8"), ("quantised.pt", "4")]
    run("student", "pruned", "recurrent")
    assert [starts(line) for line in programs.calls()["fairseq-train"]] == ["student.pt", "pruned.pt"]


def test_an_unknown_step_is_named_before_any_work(programs, data, tmp_path):
    process = programs.run("pipeline/run.sh", data, tmp_path / "out", "student", "shrunk", succeeds=False)
    assert process.stderr.startswith("run.sh: shrunk: is no step")
    assert not (tmp_path / "out").exists()


def test_a_step_that_cannot_be_ends_the_run(data, tmp_path):
    refusing = {**PROGRAMS, "python": PROGRAMS["python"].replace('echo --pretrained "$2" "${3:-}"', "exit 1")}
    programs = StandIns(tmp_path / "refusing", refusing)
    programs.run("pipeline/run.sh", data, tmp_path / "out", "recurrent", succeeds=False)
    assert len(programs.calls()["fairseq-train"]) == 1
