"""The distance of hidden states in criterions with a teacher: by hand, without weight, and with layers that are not."""

import pytest
import torch
from distilled import PAD, TRAINED, batch, prepare, write_dictionaries

from fairseq_lite.errors import UserError

BASES = ("label_smoothed_cross_entropy", "masked_lm", "sentence_prediction")


def arguments(base, layers, width):
    """Options of a model with so many encoder layers of a width."""
    sizes = f" --encoder-layers {layers} --encoder-embed-dim {width} --encoder-attention-heads 2"
    return TRAINED[base] + sizes


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_dictionaries(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def teachers(data, tmp_path_factory):
    """Models of three layers, of width 24, with their files."""
    folder, made = tmp_path_factory.mktemp("teachers"), {}
    for base in BASES:
        training = prepare(data, base, arguments(base, 3, 24), seed=7)
        made[base] = training.model.eval(), training.save(folder / f"{base}.pt")
    return made


def distil(data, base, path, options="", width=16, layers=2):
    given = f"{arguments(base, layers, width)} --teacher {path} {options}"
    training = prepare(data, f"{base}_with_distillation", given)
    training.criterion.meet(training.model)
    return training


def loss_of(training, sample):
    loss, sample_size, logged = training.criterion(training.model, sample)
    return loss.item(), int(sample_size), logged


def hidden_states(model, tokens):
    """After each layer of the encoder, [T, B, C]."""
    if hasattr(model, "decoder"):
        return model.encoder(tokens, tokens.ne(PAD).sum(1), return_all_hiddens=True)["encoder_states"][1:]
    return model(tokens, features_only=True, return_all_hiddens=True)[1]["inner_states"][1:]


def naive_error(student, teacher, tokens, projection):
    """The mean of the squared differences, in a loop over tokens."""
    differences = [
        other - (own if projection is None else projection.weight @ own)
        for number in range(len(tokens))
        for position in range(tokens.size(1))
        if tokens[number, position] != PAD
        for own, other in [(student[position, number], teacher[position, number])]
    ]
    return torch.stack(differences).square().mean().item()


@torch.no_grad()
@pytest.mark.parametrize("width", [16, 24])
@pytest.mark.parametrize("base", BASES)
def test_the_error_of_the_layers_by_hand(data, teachers, base, width):
    teacher, path = teachers[base]
    training = distil(data, base, path, "--distillation-layers 0:1,1:2 --distillation-layers-weight 0.7", width)
    sample = batch(base, training.model)
    loss, size, logged = loss_of(training, sample)
    taught, _, _ = loss_of(distil(data, base, path, width=width), sample)
    tokens, projections = sample["net_input"]["src_tokens"], training.criterion.matching.projections
    assert set(projections) == ({"0:1", "1:2"} if width == 16 else set())
    own, wanted = hidden_states(training.model, tokens), hidden_states(teacher, tokens)
    total = sum(
        naive_error(own[a], wanted[b], tokens, projections[f"{a}:{b}"] if projections else None)
        for a, b in ((0, 1), (1, 2))
    )
    assert total > 0.1
    assert loss == pytest.approx(taught + 0.7 * size * total, rel=1e-4)
    assert float(logged["distillation_layers_loss"]) == pytest.approx(size * total, rel=1e-4)


def test_gradients_go_to_the_student_and_its_projections_alone(data, teachers):
    base = "sentence_prediction"
    training = distil(data, base, teachers[base][1], "--distillation-layers 0:2")
    loss, _, _ = training.criterion(training.model, batch(base, training.model))
    loss.backward()
    (projection,) = training.criterion.parameters()
    assert projection.shape == (24, 16) and projection.grad.abs().sum() > 0
    assert all(parameter.grad is None for parameter in training.criterion._teachers[0].parameters())
    assert not any("matching" in name for name in training.model.state_dict())


@pytest.mark.parametrize("weight", [0, 0.5])
def test_a_weight_of_zero_leaves_the_layers_out(data, teachers, weight):
    base = "sentence_prediction"
    given = f"--distillation-weight {weight} --distillation-layers-weight 0 --distillation-layers 0:1"
    unweighted, path = distil(data, base, "no.pt" if weight == 0 else teachers[base][1], given), teachers[base][1]
    if weight == 0:
        plain = prepare(data, base, arguments(base, 2, 16))
    else:
        plain = distil(data, base, path, f"--distillation-weight {weight}")
    sample = batch(base, plain.model)
    assert loss_of(unweighted, sample)[0] == loss_of(plain, sample)[0]
    assert not list(unweighted.criterion.parameters())


MISTAKES = {
    "--distillation-layers 0-1": "--distillation-layers 0-1: must be pairs STUDENT:TEACHER",
    "--distillation-layers 0:1,0:1": "--distillation-layers 0:1,0:1: names a pair twice",
    "--distillation-layers 0:1,2:2": "--distillation-layers 0:1,2:2: the student's encoder has no layer 2, but 0 to 1",
    "--distillation-layers 0:3": "--distillation-layers 0:3: the teacher's encoder has no layer 3, but 0 to 2",
    "--distillation-layers 0:1 --distillation-layers-weight inf": "--distillation-layers-weight inf: must be at least",
    "--distillation-layers 0:1 --encoder-layerdrop 0.1": "--distillation-layers 0:1: needs every layer at every update",
    "--distillation-layers 0:1 --teacher {path}:{path}": "--distillation-layers 0:1: needs one teacher, not 2",
}


@pytest.mark.parametrize("given", MISTAKES)
def test_a_mistake_is_one_line_before_training(data, teachers, given):
    base = "masked_lm"
    path = teachers[base][1]
    with pytest.raises(UserError) as error:
        distil(data, base, path, given.format(path=path))
    assert str(error.value).startswith(MISTAKES[given]) and "\n" not in str(error.value)


def test_a_language_model_has_no_encoder(data, tmp_path):
    path = prepare(data, "cross_entropy", TRAINED["cross_entropy"], seed=7).save(tmp_path / "teacher.pt")
    given = f"{TRAINED['cross_entropy']} --teacher {path} --distillation-layers 0:0"
    training = prepare(data, "cross_entropy_with_distillation", given)
    with pytest.raises(UserError, match="--distillation-layers 0:0: the student has no encoder of layers"):
        training.criterion.meet(training.model)
