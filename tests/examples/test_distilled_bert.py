"""examples/neuron_pruning/distilled.sh: each student learns from the dense model of its seed."""

import pytest
from stand_ins import StandIns

# train.sh calls fairseq-train, which leaves a checkpoint for each epoch.
PROGRAMS = {
    "fairseq-train": 'while [ "$1" != --save-dir ]; do shift; done; echo weights >"$2/checkpoint1.pt"',
    "python": "echo {}",
    # take-layers IN --encoder N,N,... OUT
    "fairseq-lite": 'cp "$2" "$5"',
}


@pytest.fixture
def distilled(tmp_path):
    """Runs the script for one epoch with some students; the trainings that it starts."""
    programs = StandIns(tmp_path / "programs", PROGRAMS)
    for name in ("pretrained/model.pt", "binary/label/dict.txt", "text/train.label"):
        path = tmp_path / "data" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("a line\n")

    def run(students, **environment):
        environment = {"EPOCHS": "1", "STUDENTS": students, **environment}
        programs.run("neuron_pruning/distilled.sh", tmp_path / "data", tmp_path / "out", "--cpu", **environment)
        return programs.calls()["fairseq-train"]

    return run


def last(line, option):
    """The value that prevails, without its folder."""
    return next(
        (value.rsplit("/", 2)[-2:] for name, value in reversed(list(zip(line, line[1:]))) if name == option), None
    )


def test_students_learn_from_the_dense_model_of_their_seed(distilled):
    trainings = distilled("neurons-60 layers-3 bilstm", SEEDS="1 2")
    seeds = [last(line, "--seed") for line in trainings]
    assert seeds == [["1"]] * 4 + [["2"]] * 4
    assert [last(line, "--teacher") for line in trainings[:4]] == [None] + [["dense", "model.pt"]] * 3
    starts = [last(line, "--finetune-from-model") for line in trainings[:4]]
    assert starts == [["pretrained", "model.pt"], ["dense", "model.pt"], ["out-1", "taken.pt"], None]


def test_an_unknown_student_is_named_before_any_training(distilled, tmp_path):
    with pytest.raises(AssertionError, match="STUDENTS: neurons-100 is none of"):
        distilled("layers-3 neurons-100")
    assert not (tmp_path / "out-1").exists()


def test_options_come_from_the_students(distilled):
    _, pruned, layers, bilstm = distilled("neurons-80 layers-3 bilstm", SEEDS="1")
    assert last(pruned, "--pruning-target") == ["0.80"]
    assert last(pruned, "--criterion") == ["sentence_prediction_with_distillation_with_pruning"]
    assert last(layers, "--encoder-layers") == ["3"]
    assert last(bilstm, "--arch") == ["bilstm_classifier"]
    assert all("--cpu" in line for line in (pruned, layers, bilstm))
