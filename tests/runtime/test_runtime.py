"""The runtime's classes on toy folders: what goes into a graph and what comes out as text."""

import hashlib
import json
import math

import onnxruntime
import pytest
import toys
from fairseq_lite_runtime import Classifier, FolderError, Generator, InputError, Stepper, Translator


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return toys.translation_folder(tmp_path_factory.mktemp("toy") / "out")


@pytest.mark.parametrize("batch_size", [1, 2, 16])
def test_one_line_out_for_one_line_in_whatever_the_batch(folder, batch_size):
    lines = ["one two", "", "three three one two", "two", "   ", "one"]
    expected = ["eins zwei", "", "drei drei eins zwei", "zwei", "", "eins"]
    assert Translator(folder, batch_size=batch_size).translate(lines) == expected


def test_unknown_words_and_words_spelt_like_special_entries_are_unknown(folder):
    assert Translator(folder).translate(["one four </s> <pad> <s> two"]) == ["eins <unk> <unk> <unk> <unk> zwei"]


def test_hypotheses_are_the_best_of_the_beam_with_their_scores(folder):
    translator = Translator(folder)
    best, second = translator.hypotheses(["one"], nbest=2, beam=4, lenpen=0.5)[0]
    assert (best.text, best.tokens, second.score) == ("eins", [4, 2], -0.5)
    assert len(translator.hypotheses(["one"], nbest=3)[0]) == 3
    assert translator.hypotheses([""], nbest=2) == [[]]


@pytest.mark.parametrize(
    "options, message",
    [
        ({"beam": 0}, "beam 0: must be at least 1"),
        ({"beam": 1.5}, "beam 1.5: must be a whole number"),
        ({"lenpen": math.nan}, "lenpen nan: must be a finite number"),
        ({"nbest": 4}, "nbest 4: must be 1 to the beam, 3"),
        ({"beams": 4}, "beams: no such option; there are beam, lenpen"),
        ({"max_len_b": -1}, "max_len_b -1: must be at least 0"),
    ],
)
def test_options_out_of_range_are_named(folder, options, message):
    with pytest.raises(InputError, match=message):
        Translator(folder).hypotheses(["one"], **options)


def test_a_line_that_is_too_long_is_named(folder):
    with pytest.raises(InputError, match="line 2: has 11 tokens, this model takes 10"):
        Translator(folder).translate(["one", "one " * 10])


def test_generator_continues_prompts_and_an_empty_one(tmp_path):
    generator = Generator(toys.language_model_folder(tmp_path / "out"))
    assert generator.generate(["eins", "", "zwei drei"]) == ["eins", "", "zwei drei"]


def test_classifier_labels_lines(tmp_path):
    classifier = Classifier(toys.classifier_folder(tmp_path / "out"), batch_size=2)
    assert classifier.classify(["one", "one two three", "", "two"]) == ["short", "long", "", "short"]
    assert classifier.log_probabilities(["one"]).shape == (1, 2)


def damage(folder, name):
    content = bytearray((folder / name).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / name).write_bytes(content)


def remove(folder, name):
    (folder / name).unlink()


def change_config(folder, key, value):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, key: value}))


def cut_config(folder):
    text = (folder / "config.json").read_text()
    (folder / "config.json").write_text(text[: len(text) // 2])


@pytest.mark.parametrize(
    "spoil, message",
    [
        (lambda f: damage(f, "model.onnx"), "model.onnx: damaged, its SHA-256 is not that of config.json"),
        (lambda f: damage(f, "vocab.json"), "vocab.json: damaged"),
        (lambda f: remove(f, "model.onnx"), "model.onnx: is missing; copy the whole folder"),
        (lambda f: remove(f, "config.json"), "has no config.json; give a folder that fairseq-lite export wrote"),
        (lambda f: change_config(f, "subwords", "sentencepiece"), "subwords.spm: is missing"),
        (lambda f: change_config(f, "format", 2), "has format 2, this fairseq-lite-runtime reads 1"),
        (lambda f: change_config(f, "kind", "classification"), "of the kind classification, not translation"),
        (lambda f: change_config(f, "onnxruntime", "99.1"), f"needs onnxruntime 99.1, found {onnxruntime.__version__}"),
        (cut_config, "config.json: damaged"),
    ],
)
def test_a_folder_that_cannot_run_is_refused_in_one_line(tmp_path, spoil, message):
    folder = toys.translation_folder(tmp_path / "out")
    spoil(folder)
    with pytest.raises(FolderError, match=message) as caught:
        Translator(folder)
    assert "\n" not in str(caught.value)


def test_a_folder_without_step_graphs_is_refused_by_the_stepper(folder):
    with pytest.raises(FolderError, match="has no step.onnx; export with --step"):
        Stepper(folder)


def test_a_path_that_is_no_folder_is_refused(tmp_path):
    with pytest.raises(FolderError, match="no such folder"):
        Translator(tmp_path / "nothing")


def test_a_graph_that_onnxruntime_refuses_is_told_in_one_line(tmp_path):
    folder = toys.translation_folder(tmp_path / "out")
    (folder / "model.onnx").write_bytes(b"\n\n\n")
    files = json.loads((folder / "config.json").read_text())["files"]
    change_config(folder, "files", {**files, "model.onnx": hashlib.sha256(b"\n\n\n").hexdigest()})
    with pytest.raises(FolderError, match="model.onnx: onnxruntime .* refuses it") as caught:
        Translator(folder)
    assert "\n" not in str(caught.value)
