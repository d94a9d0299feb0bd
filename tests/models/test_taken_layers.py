"""A student of some of a teacher's layers is the model without the others: options, weights and widths of neurons."""

import pytest
import torch
from distilled import ROBERTA, TRANSLATION, prepare, write_dictionaries

from fairseq_lite.checkpoints import load_model, read_checkpoint
from fairseq_lite.cli import main

TINY = f"{TRANSLATION} --arch transformer_tiny"
DEEP_ROBERTA = ROBERTA.replace("--encoder-layers 1", "--encoder-layers 3")
# A model, and how it is trained.
MODELS = {
    "transformer": ("cross_entropy", f"{TINY} --encoder-layers 3 --decoder-layers 3"),
    "lite_transformer": (
        "cross_entropy",
        f"{TRANSLATION} --arch lite_transformer_tiny --encoder-layers 3 --encoder-kernel-sizes 3,5,7"
        " --decoder-layers 3 --decoder-kernel-sizes 3,5,7",
    ),
    "t2r": ("cross_entropy", f"{TRANSLATION} --arch t2r_transformer_tiny --decoder-layers 3 --encoder-layers 3"),
    "evolved_transformer": (
        "cross_entropy",
        f"{TRANSLATION} --arch evolved_transformer_tiny --encoder-layers 3 --decoder-layers 3",
    ),
    "lightconv": (
        "cross_entropy",
        f"{TRANSLATION} --arch lightconv --encoder-embed-dim 16 --decoder-embed-dim 16 --encoder-ffn-embed-dim 16"
        " --encoder-layers 3 --decoder-layers 3 --encoder-kernel-size-list [3,5,7] --decoder-kernel-size-list [3,5,7]"
        " --encoder-conv-dim 16 --decoder-conv-dim 16 --encoder-glu True --decoder-glu True",
    ),
    "roberta": ("sentence_prediction", f"--task sentence_prediction --num-classes 3 --max-positions 12 {DEEP_ROBERTA}"),
}
SOURCE, TARGET = torch.tensor([[5, 6, 7, 2], [8, 2, 1, 1]]), torch.tensor([[2, 9, 10], [2, 11, 12]])


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_dictionaries(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def whole(data, tmp_path_factory):
    """Writes a checkpoint of one of MODELS; returns its path."""

    def whole(name):
        return prepare(data, *MODELS[name]).save(tmp_path_factory.mktemp("whole") / f"{name}.pt")

    return whole


def take(path, output, options):
    assert main(["take-layers", path, str(output), *options.split()]) == 0
    return load_model(str(output))


def run(model):
    if hasattr(model, "decoder"):
        return model(SOURCE, SOURCE.ne(1).sum(1), TARGET)[0]
    return model(SOURCE, classification_head_name="sentence_classification_head")[0]


def keep_by_hand(model, side, numbers):
    """Leave out the other layers of a model that is built already."""
    part = getattr(model, side, None)
    part = getattr(part, "sentence_encoder", part)
    if part is not None:
        part.layers = torch.nn.ModuleList(part.layers[number] for number in numbers)


@torch.no_grad()
@pytest.mark.parametrize("numbers", [[0, 1, 2], [0, 2]], ids=str)
@pytest.mark.parametrize("name", MODELS)
def test_the_layers_taken_are_the_model_without_the_others(name, numbers, whole, tmp_path):
    path = whole(name)
    wanted, sides = load_model(path), ["encoder"] if name == "roberta" else ["encoder", "decoder"]
    found = take(path, tmp_path / "out.pt", " ".join(f"--{side} {','.join(map(str, numbers))}" for side in sides))
    for side in sides:
        keep_by_hand(wanted, side, numbers)
    assert torch.equal(run(found), run(wanted))
    options = read_checkpoint(str(tmp_path / "out.pt"))["cfg"]["model"]
    assert all(getattr(options, f"{side}_layers") == len(numbers) for side in sides)


@torch.no_grad()
def test_the_neurons_that_are_left_go_along(whole, tmp_path):
    checkpoint = torch.load(whole("transformer"))
    for layer, count in ((0, 20), (2, 50)):
        for kind in ("weight", "bias"):
            checkpoint["model"][f"encoder.layers.{layer}.fc1.{kind}"][:count] = 0
    masked, shrunk = str(tmp_path / "masked.pt"), str(tmp_path / "shrunk.pt")
    torch.save(checkpoint, masked)
    assert main(["shrink", masked, shrunk]) == 0
    parts = [take(path, tmp_path / f"{index}.pt", "--encoder 1,2") for index, path in enumerate((masked, shrunk))]
    assert parts[1].widths.keys() == {"encoder.layers.1.fc1", "encoder.layers.1.fc2"}
    torch.testing.assert_close(run(parts[1]), run(parts[0]))


def test_attention_that_keeps_softmax_is_named_by_its_new_number(data, tmp_path):
    training = prepare(data, "cross_entropy", f"{MODELS['t2r'][1]} --softmax-sublayers causal.2,cross.0")
    model = take(training.save(tmp_path / "whole.pt"), tmp_path / "out.pt", "--decoder 0,2")
    linear = [[hasattr(a, "feature_map") for a in (d.self_attn, d.encoder_attn)] for d in model.decoder.layers]
    assert linear == [[True, False], [False, True]]


def test_the_checkpoint_has_no_training_behind_it_and_tells_the_options_of_one(whole, tmp_path, capsys):
    path = whole("lite_transformer")
    checkpoint = torch.load(path)
    torch.save({**checkpoint, "last_optimizer_state": {"state": 1}, "criterion": {"w": 1}}, path)
    take(path, tmp_path / "out.pt", "--encoder 0,2")
    printed = capsys.readouterr().out
    assert f"--finetune-from-model {tmp_path}/out.pt with --encoder-layers 2 --encoder-kernel-sizes 3,7\n" in printed
    taken = read_checkpoint(str(tmp_path / "out.pt"))
    assert "last_optimizer_state" not in taken and taken["criterion"] is None
    assert taken["optimizer_history"][0]["num_updates"] == 0


MISTAKES = {
    "": "--encoder, --decoder: neither is given",
    "--encoder 0,x": "--encoder 0,x: must be numbers of layers",
    "--encoder=-1": "--encoder -1: must be numbers of layers",
    "--encoder 0,3": "--encoder 0,3: {path} has layers 0 to 2",
    "--encoder 2,0": "--encoder 2,0: {path} has layers 0 to 2; name some of them, each once, in rising order",
    "--encoder 1,1": "--encoder 1,1: {path} has layers 0 to 2",
    "--decoder 0": "--decoder 0: {path} has no such layers; leave the option out",
}


@pytest.mark.parametrize("given", MISTAKES)
def test_a_mistake_is_one_line(given, whole, tmp_path, capsys):
    path = whole("roberta")
    assert main(["take-layers", path, str(tmp_path / "out.pt"), *given.split()]) == 2
    line = capsys.readouterr().err
    assert line.startswith(f"fairseq-lite take-layers: error: {MISTAKES[given].format(path=path)}")
    assert line.count("\n") == 1 and not (tmp_path / "out.pt").exists()
