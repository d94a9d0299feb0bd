"""Trainings of fairseq-train with a teacher, in this process, on a corpus of a few sentences."""

import random

import pytest
import torch
from commands import call
from distilled import prepare
from fairseq_cli import preprocess, train, validate

from fairseq_lite.cli import main
from fairseq_lite.explain import one_line

MODEL = "--task translation -s de -t en --arch transformer_tiny"
TRAINING = (
    f"{MODEL} --cpu --optimizer adam --lr 0.003 --batch-size 4 --num-workers 0 --data-buffer-size 0"
    " --no-progress-bar --no-epoch-checkpoints --save-interval-updates 2 --disable-validation"
)
DISTILLED = "--criterion label_smoothed_cross_entropy_with_distillation --label-smoothing 0.1"
PRUNED = "--pruning-target 0.5 --pruning-end 3 --pruning-steps 2"


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder, rng = tmp_path_factory.mktemp("corpus"), random.Random(4)
    for side in ("de", "en"):
        lines = [" ".join(f"w{rng.randrange(12)}" for _ in range(rng.randint(2, 7))) for _ in range(16)]
        (folder / f"text.{side}").write_text("\n".join(lines) + "\n")
    splits = f"--trainpref {folder}/text --validpref {folder}/text"
    call(preprocess.cli_main, f"-s de -t en --joined-dictionary {splits} --destdir {folder}/data")
    return folder / "data"


@pytest.fixture(scope="module")
def teacher(data, tmp_path_factory):
    return prepare(data, "cross_entropy", MODEL, seed=7).save(tmp_path_factory.mktemp("teacher") / "teacher.pt")


def trained(data, folder, options, updates=4):
    """The checkpoint after some updates, with those before it."""
    call(train.cli_main, f"{data} {TRAINING} --save-dir {folder} --max-update {updates} {options}")
    return torch.load(folder / "checkpoint_last.pt")


def assert_same_weights(first, second):
    assert first.keys() == second.keys()
    for name, weight in first.items():
        assert weight.equal(second[name]) or name.endswith("_float_tensor"), name


def test_a_resumed_training_equals_an_uninterrupted_one_and_saves_the_student_alone(data, teacher, tmp_path):
    options = f"{DISTILLED} --teacher {teacher} --distillation-temperature 2 --distillation-top-k 5 --update-freq 2"
    whole = trained(data, tmp_path / "whole", options)
    trained(data, tmp_path / "parts", options, updates=2)
    resumed = trained(data, tmp_path / "parts", options)
    assert_same_weights(whole["model"], resumed["model"])
    plain = trained(data, tmp_path / "plain", "--criterion label_smoothed_cross_entropy --label-smoothing 0.1")
    assert whole["model"].keys() == plain["model"].keys() and not whole.get("criterion")
    assert any(not weight.equal(plain["model"][name]) for name, weight in whole["model"].items())


def test_a_weight_of_zero_trains_what_the_base_trains(data, teacher, tmp_path):
    plain = trained(data, tmp_path / "plain", "--criterion cross_entropy")
    options = f"--criterion cross_entropy_with_distillation --teacher {teacher} --distillation-weight 0"
    assert_same_weights(plain["model"], trained(data, tmp_path / "unweighted", options)["model"])


def test_projections_of_layers_train_resume_and_stay_out_of_the_model(data, teacher, tmp_path):
    """From a student of the teacher's layers, whose file has no projections, to the end with them and back."""
    assert main(["take-layers", teacher, str(tmp_path / "taken.pt"), "--encoder", "1"]) == 0
    wide = prepare(data, "cross_entropy", f"{MODEL} --encoder-embed-dim 32", seed=7).save(tmp_path / "wide.pt")
    options = f"{DISTILLED} --teacher {wide} --encoder-layers 1 --distillation-layers 0:1"
    start = f"{options} --finetune-from-model {tmp_path}/taken.pt"
    first = trained(data, tmp_path / "parts", start, updates=2)
    resumed, whole = trained(data, tmp_path / "parts", start), trained(data, tmp_path / "whole", start)
    (name,) = first["criterion"]
    assert name == "matching.projections.0:1.weight"
    assert not first["criterion"][name].equal(whole["criterion"][name])
    for part in ("model", "criterion"):
        assert_same_weights(whole[part], resumed[part])
    assert whole["model"].keys() == torch.load(tmp_path / "taken.pt")["model"].keys()
    with pytest.raises(Exception, match="Cannot load model parameters") as error:
        trained(data, tmp_path / "parts", start.replace("layers 0:1", "layers 0:0"), updates=6)
    assert one_line(error.value).startswith("--distillation-layers 0:0: the checkpoint was trained with others")


def test_pruning_with_a_teacher(data, teacher, tmp_path, caplog):
    caplog.set_level("INFO")
    options = f"--criterion cross_entropy_with_distillation_with_pruning --teacher {teacher} {PRUNED}"
    state = trained(data, tmp_path, f"{options} --log-format simple --log-interval 1")["model"]
    inner = [weight for name, weight in state.items() if name.endswith("fc1.weight")]
    assert any((weight == 0).all(dim=1).any() for weight in inner)
    assert all(name in caplog.text for name in ("distillation_loss", "sparsity_target", "ppl"))


def test_linear_attention_learns_from_the_softmax_model_that_it_was(data, teacher, tmp_path):
    swapped = f"--task finetune_translation --arch t2r_transformer_tiny --pretrained {teacher}"
    states = [
        trained(data, tmp_path / weight, f"{DISTILLED} --teacher {teacher} {swapped} --distillation-weight {weight}", 2)
        for weight in ("0", "1")
    ]
    name = "decoder.layers.0.fc1.weight"
    assert not states[0]["model"][name].equal(states[1]["model"][name])


def test_validation_needs_no_teacher(data, tmp_path):
    path = prepare(data, "cross_entropy", MODEL, seed=7).save(tmp_path / "teacher.pt")
    trained(data, tmp_path, f"{DISTILLED} --teacher {path}", updates=2)
    (tmp_path / "teacher.pt").unlink()
    given = f"{data} --cpu --path {tmp_path}/checkpoint_last.pt --task translation -s de -t en --valid-subset valid"
    call(validate.cli_main, f"{given} {DISTILLED} --teacher {path} --batch-size 4")
