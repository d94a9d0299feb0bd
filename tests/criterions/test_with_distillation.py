"""The loss of criterions with a teacher, by hand; what is called how often, and what is saved."""

import math

import pytest
import torch
from distilled import LM, PAD, TRAINED, batch, prepare, write_dictionaries
from fairseq.logging import metrics
from fairseq.models import FairseqMultiModel

from fairseq_lite.cli import main
from fairseq_lite.criterions.with_distillation import DISTILLABLE_CRITERIONS
from fairseq_lite.errors import UserError

HEAD = "sentence_classification_head"
each_base = pytest.mark.parametrize("base", DISTILLABLE_CRITERIONS)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_dictionaries(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def teachers(data, tmp_path_factory):
    """For each base two models with their files."""
    folder = tmp_path_factory.mktemp("teachers")
    made = {}
    for base in DISTILLABLE_CRITERIONS:
        for seed in (7, 8):
            training = prepare(data, base, TRAINED[base], seed)
            path = training.save(folder / f"{base}{seed}.pt")
            made.setdefault(base, []).append((training.model.eval(), path))
    return made


def distil(data, base, paths, options="", seed=1):
    given = f"{TRAINED[base]} --teacher {':'.join(paths)} {options}"
    return prepare(data, f"{base}_with_distillation", given, seed)


def predictions(base, model, sample):
    """Probabilities of the words of each target, or of the classes of each sentence."""
    if base == "sentence_prediction":
        logits = model(**sample["net_input"], features_only=True, classification_head_name=HEAD)[0]
        return logits.softmax(-1).tolist()
    shares = model.get_normalized_probs(model(**sample["net_input"]), log_probs=False)
    return [row.tolist() for row, target in zip(shares.flatten(0, 1), sample["target"].flatten()) if target != PAD]


def distance(taught, learnt, temperature, top_k):
    """T^2 KL of the teacher's top words, in a loop over them."""
    words = sorted(range(len(taught)), key=lambda word: -taught[word])[:top_k]
    sides = [[row[word] ** (1 / temperature) for word in words] for row in (taught, learnt)]
    p, q = ([power / sum(side) for power in side] for side in sides)
    return temperature**2 * sum(a * math.log(a / b) for a, b in zip(p, q))


def loss_of(training, sample):
    training.model.zero_grad()
    loss, _, logged = training.criterion(training.model, sample)
    loss.sum().backward()
    return loss.sum().item(), logged


def gradients(model):
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("count, temperature, top_k", [(1, 1.0, None), (1, 2.0, 2), (2, 2.0, None)])
@each_base
def test_the_loss_by_hand(data, teachers, base, count, temperature, top_k):
    models, paths = zip(*teachers[base][:count])
    options = f"--distillation-weight 0.3 --distillation-temperature {temperature}"
    training = distil(data, base, paths, options + (f" --distillation-top-k {top_k}" if top_k else ""))
    sample = batch(base, training.model)
    loss, logged = loss_of(training, sample)
    plain = prepare(data, base, TRAINED[base])
    base_loss, base_logged = loss_of(plain, sample)
    with torch.no_grad():
        learnt = predictions(base, training.model, sample)
        each = [predictions(base, model, sample) for model in models]
    taught = [[sum(shares) / count for shares in zip(*rows)] for rows in zip(*each)]
    total = sum(distance(p, q, temperature, top_k) for p, q in zip(taught, learnt))
    assert total > 0.1
    assert loss == pytest.approx(0.7 * base_loss + 0.3 * total, rel=1e-4)
    assert float(logged.pop("distillation_loss")) == pytest.approx(total, rel=1e-4)
    assert logged.pop("distillation_count") == len(learnt)
    assert logged.keys() == base_logged.keys() and all(logged[key] == base_logged[key] for key in logged)


@each_base
def test_nothing_is_to_learn_from_an_equal(data, base, tmp_path):
    plain = prepare(data, base, TRAINED[base])
    training = distil(data, base, [plain.save(tmp_path / "equal.pt")], "--distillation-weight 0.25")
    sample = batch(base, plain.model)
    expected, _ = loss_of(plain, sample)
    loss, logged = loss_of(training, sample)
    assert loss == pytest.approx(0.75 * expected) and float(logged["distillation_loss"]) == pytest.approx(0, abs=1e-5)
    wanted, found = gradients(plain.model), gradients(training.model)
    assert wanted.keys() == found.keys()
    for name in wanted:
        torch.testing.assert_close(found[name], 0.75 * wanted[name], rtol=1e-3, atol=1e-4)


@each_base
def test_each_model_runs_once_and_the_teacher_stays_outside(data, teachers, base):
    training = distil(data, base, [path for _, path in teachers[base]])
    training.task.begin_epoch(1, training.model)
    held = training.criterion._teachers
    before = [{name: tensor.clone() for name, tensor in teacher.state_dict().items()} for teacher in held]
    calls = []
    for model in (training.model, *held):
        model.register_forward_hook(lambda model, *_: calls.append(model))
    loss_of(training, batch(base, training.model))
    assert calls == [training.model, *held]
    assert not training.criterion.state_dict() and not list(training.criterion.parameters())
    assert not any(p.requires_grad or p.grad is not None for teacher in held for p in teacher.parameters())
    assert not any(teacher.training for teacher in held)
    for teacher, state in zip(held, before):
        assert all(tensor.equal(state[name]) for name, tensor in teacher.state_dict().items())


@each_base
def test_validation_and_a_weight_of_zero_are_the_base_alone(data, base):
    """Without a teacher's file: nothing reads it."""
    plain = prepare(data, base, TRAINED[base])
    sample = batch(base, plain.model)
    unweighted = distil(data, base, ["no.pt"], "--distillation-weight 0")
    (expected, logged), (loss, found) = loss_of(plain, sample), loss_of(unweighted, sample)
    assert loss == expected and logged.keys() == found.keys()
    wanted = gradients(plain.model)
    assert all(gradient.equal(wanted[name]) for name, gradient in gradients(unweighted.model).items())
    evaluated = distil(data, base, ["no.pt"])
    plain.model.eval(), evaluated.model.eval()
    assert loss_of(evaluated, sample)[0] == loss_of(plain, sample)[0]


@pytest.mark.parametrize("student, teacher", [("adaptive_loss", "cross_entropy"), ("cross_entropy", "adaptive_loss")])
def test_adaptive_and_plain_softmax_learn_from_each_other(data, teachers, student, teacher):
    model, path = teachers[teacher][0]
    training = distil(data, student, [path], "--distillation-weight 1")
    sample = batch(student, training.model)
    loss, _ = loss_of(training, sample)
    pairs = zip(predictions(student, model, sample), predictions(student, training.model, sample))
    assert loss == pytest.approx(sum(distance(p, q, 1, None) for p, q in pairs), rel=1e-4)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.half])
@pytest.mark.parametrize("base", ["cross_entropy", "adaptive_loss"])
def test_a_teacher_is_of_the_students_precision(data, teachers, base, dtype):
    single, half = (distil(data, base, [teachers[base][0][1]]) for _ in range(2))
    half.model.to(dtype)
    sample = batch(base, single.model)
    expected, loss = (loss_of(training, sample)[0] for training in (single, half))
    assert {p.dtype for p in half.criterion._teachers[0].parameters()} == {dtype}
    assert loss == pytest.approx(expected, rel=0.1)


def test_compressed_and_shrunk_teachers(data, teachers, tmp_path):
    base = "label_smoothed_cross_entropy"
    model, path = teachers[base][0]
    checkpoint = torch.load(path)
    for name in ("weight", "bias"):
        checkpoint["model"][f"encoder.layers.0.fc1.{name}"][:20] = 0
    torch.save(checkpoint, tmp_path / "masked.pt")
    assert main(["shrink", str(tmp_path / "masked.pt"), str(tmp_path / "shrunk.pt")]) == 0
    assert main(["compress", str(tmp_path / "masked.pt"), str(tmp_path / "small.pt"), "--bits", "8"]) == 0
    names = ("masked", "shrunk", "small")
    trainings = [distil(data, base, [str(tmp_path / f"{name}.pt")], "--distillation-weight 1") for name in names]
    sample = batch(base, model)
    masked, shrunk, small = (loss_of(training, sample)[0] for training in trainings)
    assert shrunk == pytest.approx(masked, rel=1e-4) and small == pytest.approx(masked, rel=0.1)


def test_a_prefix_that_is_not_scored_is_not_taught(data, teachers):
    base = "label_smoothed_cross_entropy"
    training = distil(data, base, [teachers[base][0][1]], "--ignore-prefix-size 2")
    _, logged = loss_of(training, batch(base, training.model))
    assert logged["distillation_count"] == 4


def test_what_is_reported(data):
    criterion = distil(data, "cross_entropy", ["no.pt"]).criterion
    logs = [
        dict(loss=8.0, ntokens=4, sample_size=4, distillation_loss=torch.tensor(3.0), distillation_count=3),
        dict(loss=4.0, ntokens=2, sample_size=2, distillation_loss=torch.tensor(1.0), distillation_count=2),
    ]
    with metrics.aggregate(new_root=True) as reported:
        criterion.reduce_metrics(logs)
    values = reported.get_smoothed_values()
    assert values["distillation_loss"] == pytest.approx(4 / 5 / math.log(2), abs=1e-3)
    assert values["ppl"] == pytest.approx(math.exp(2), abs=1e-2)


MISTAKES = {
    "": "--teacher: not given",
    "--teacher {good}:": "--teacher {good}:; give",
    "--teacher {good} --distillation-weight 1.5": "--distillation-weight 1.5: must lie between 0 and 1",
    "--teacher {good} --distillation-weight nan": "--distillation-weight nan: must lie between 0 and 1",
    "--teacher {good} --distillation-temperature 0": "--distillation-temperature 0: must be above 0",
    "--teacher {good} --distillation-temperature inf": "--distillation-temperature inf: must be above 0",
    "--teacher {good} --distillation-top-k 0": "--distillation-top-k 0: must be at least 1",
    "--teacher {good} --distillation-top-k 25": "--distillation-top-k 25: the model knows 24 words",
    "--teacher {folder}/no.pt": "--teacher {folder}/no.pt: no such file",
    "--teacher {good}:{folder}/text": "--teacher {folder}/text: ",
    "--teacher {other_task}": "--teacher {other_task}: is an encoder-decoder, the student a language model",
    "--teacher {other_words}": "--teacher {other_words}: has 25 target words, the student 24",
    "--teacher {short}": "--teacher {short}: takes 11 positions and training goes up to 12; give",
}


@pytest.fixture(scope="module")
def files(data, teachers, tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    (folder / "text").write_text("no checkpoint")
    more = write_dictionaries(folder / "more", 21)
    return {
        "folder": folder,
        "good": teachers["cross_entropy"][0][1],
        "other_task": teachers["label_smoothed_cross_entropy"][0][1],
        "other_words": prepare(more, "cross_entropy", LM).save(folder / "other_words.pt"),
        "short": prepare(data, "cross_entropy", LM.replace("sample 12", "sample 11")).save(folder / "short.pt"),
    }


@pytest.mark.parametrize("given", MISTAKES)
def test_a_mistake_is_one_line_before_training(data, files, given):
    criterion = "cross_entropy_with_distillation"
    with pytest.raises(UserError) as error:
        training = prepare(data, criterion, f"{LM} {given.format(**files)}")
        training.task.begin_epoch(1, training.model)
    line = str(error.value)
    assert line.startswith(MISTAKES[given].format(**files)) and "\n" not in line


def test_a_teacher_of_other_classes(data, teachers):
    base = "sentence_prediction"
    given = TRAINED[base].replace("classes 3", "classes 2") + f" --teacher {teachers[base][0][1]}"
    training = prepare(data, f"{base}_with_distillation", given)
    with pytest.raises(UserError, match=f"has 3 classes in {HEAD}, the student 2"):
        training.task.begin_epoch(1, training.model)


def test_models_of_several_language_pairs_are_refused(data, teachers):
    base = "label_smoothed_cross_entropy"
    training = distil(data, base, [teachers[base][0][1]])
    parts = ({"de-en": part} for part in (training.model.encoder, training.model.decoder))
    with pytest.raises(UserError, match="is an encoder-decoder, the student a model of several parts"):
        training.task.begin_epoch(1, FairseqMultiModel(*parts))
