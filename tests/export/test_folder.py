"""The folder of an export: what it holds, and that a failure leaves nothing."""

import hashlib
import json
import os
from types import SimpleNamespace

import numpy as np
import onnx
import onnxruntime
import pytest
import sentencepiece

from fairseq_lite.building import build_architecture
from fairseq_lite.errors import UserError
from fairseq_lite.export.config import Config
from fairseq_lite.export.folder import check_folder, write_folder
from fairseq_lite.export.graph import Graph
from fairseq_lite.export.graphs import write
from fairseq_lite.export.steps import write_steps
from fairseq_lite.export.subwords import is_lower_case, looks_like_wordpiece, subword_files
from fairseq_lite.export.vocabularies import read_labels, read_vocabulary

SPECIALS = ["<s>", "<pad>", "</s>", "<unk>"]
WEIGHT = np.arange(600, dtype=np.float32).reshape(20, 30)


def product(*names):
    """A graph that multiplies by the weight, within the body of a branch where there is a second name."""
    g = Graph("product")
    x = g.input("x", np.float32, ["B", 20])
    if len(names) > 1:
        then, otherwise = g.body("then"), g.body("otherwise")
        then.output(then.fresh("y"), then.op("MatMul", x, then.weight(names[0], WEIGHT)), np.float32, ["B", 30])
        otherwise.output(otherwise.fresh("y"), otherwise.weight(names[1], WEIGHT), np.float32, ["B", 30])
        y = g.branch(g.constant(np.array(True)), then, otherwise)
    else:
        y = g.op("MatMul", x, g.weight(names[0], WEIGHT))
    g.output("y", y, np.float32, ["B", 30])
    return g.model({})


def config():
    return Config("translation", "toy", 32, True, max_source=9, options={"beam": 2})


def test_the_folder_names_the_hash_of_each_file_and_its_graph_the_same_keys(tmp_path):
    path = tmp_path / "out"
    size = write_folder(str(path), config(), {"source": ["ü"]}, {"model.onnx": product("w")}, {})
    written = json.loads((path / "config.json").read_text())
    assert sorted(os.listdir(path)) == ["config.json", "model.onnx", "vocab.json"]
    assert written["files"] == {
        name: hashlib.sha256((path / name).read_bytes()).hexdigest() for name in ("model.onnx", "vocab.json")
    }
    assert size == sum(file.stat().st_size for file in path.iterdir())
    metadata = {prop.key: json.loads(prop.value) for prop in onnx.load(path / "model.onnx").metadata_props}
    assert metadata == {key: value for key, value in written.items() if key != "files"}
    assert json.loads((path / "vocab.json").read_text()) == {"source": ["ü"]}


def test_rows_in_four_bits_need_a_later_onnxruntime():
    ways = [(8, False), (8, True), (4, False), (4, True)]
    needed = [Config("translation", "transformer", *way).onnxruntime for way in ways]
    assert needed == ["1.20", "1.20", "1.23", "1.20"]


@pytest.mark.parametrize("bits, portable, needed", [(32, False, "1.26"), (4, False, "1.26"), (8, True, "1.20")])
def test_linear_attention_to_the_past_needs_a_later_onnxruntime(bits, portable, needed):
    options = "t2r_transformer_lm_tiny", ["--decoder-layers", "1"], 50
    for write_graphs in (write, write_steps):
        config = Config("language_model", "t2r_transformer_lm", bits, portable)
        write_graphs(build_architecture(*options).eval(), config)
        assert config.onnxruntime == needed


def test_graphs_share_each_weight_in_one_file(tmp_path):
    graphs = {"model.onnx": product("a", "b"), "step.onnx": product("c")}
    write_folder(str(tmp_path / "out"), config(), {}, graphs, {})
    assert (tmp_path / "out" / "weights.bin").read_bytes() == WEIGHT.tobytes()
    x = np.random.default_rng(1).random((2, 20), np.float32)
    for name in graphs:
        session = onnxruntime.InferenceSession(tmp_path / "out" / name)
        np.testing.assert_allclose(session.run(None, {"x": x})[0], x @ WEIGHT, rtol=1e-5)


def test_a_failure_leaves_nothing(tmp_path):
    with pytest.raises(UserError, match="out: cannot be written .No such file.*; nothing was changed"):
        write_folder(str(tmp_path / "out"), config(), {}, {"model.onnx": product("w")}, {"subwords.spm": "nothing"})
    assert os.listdir(tmp_path) == []


def test_a_folder_that_exists_is_refused_unless_it_is_empty(tmp_path):
    check_folder(str(tmp_path / "new") + "/")
    check_folder(str(tmp_path))
    (tmp_path / "file").write_text("")
    for path in (tmp_path, tmp_path / "file"):
        with pytest.raises(UserError, match="exists already; name a new folder"):
            check_folder(str(path))
    with pytest.raises(UserError, match="nowhere does not exist"):
        check_folder(str(tmp_path / "nowhere" / "out"))


def write_dictionary(path, words):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{word} 1\n" for word in words))
    return str(path)


def test_dictionaries_come_from_the_data_of_the_checkpoint_in_the_order_of_their_ids(tmp_path):
    write_dictionary(tmp_path / "dict.de.txt", "b a c".split())
    write_dictionary(tmp_path / "dict.en.txt", "y x".split())
    task = SimpleNamespace(data=f"{tmp_path}:elsewhere", source_lang="de", target_lang="en")
    found = read_vocabulary("translation", task, {"source": 7, "target": 6}, {})
    assert found == {"source": [*SPECIALS, "b", "a", "c"], "target": [*SPECIALS, "y", "x"]}


def test_given_dictionaries_and_data_take_the_place_of_the_checkpoints(tmp_path):
    path = write_dictionary(tmp_path / "mine.txt", "b a".split())
    write_dictionary(tmp_path / "data" / "dict.txt", "y x".split())
    found = read_vocabulary("language_model", SimpleNamespace(data="gone"), {"target": 6}, {"target": path})
    assert found == {"target": [*SPECIALS, "b", "a"]}
    found = read_vocabulary("language_model", SimpleNamespace(data="gone"), {"target": 6}, {}, str(tmp_path / "data"))
    assert found == {"target": [*SPECIALS, "y", "x"]}


def test_a_classifier_has_the_mask_and_its_labels(tmp_path):
    write_dictionary(tmp_path / "input0" / "dict.txt", "good ##ish".split())
    write_dictionary(tmp_path / "label" / "dict.txt", "bad fine madeupword0000".split())
    task = SimpleNamespace(data=str(tmp_path))
    found = read_vocabulary("classification", task, {"source": 7}, {})
    assert found == {"source": [*SPECIALS, "good", "##ish", "<mask>"]}
    assert read_labels(task, 2) == ["bad", "fine"]
    with pytest.raises(UserError, match="label/dict.txt names 3 classes, the model has 4"):
        read_labels(task, 4)
    (tmp_path / "input1").mkdir()
    with pytest.raises(UserError, match="holds pairs of sentences"):
        read_labels(task, 2)


@pytest.mark.parametrize(
    "given, data, message",
    [
        ({}, None, "gone/dict.txt: no such file, though the checkpoint names it; give --dict-tgt FILE, or --data"),
        ({}, "away", "data away/dict.txt: no such file"),
        ({"target": "away.txt"}, None, "dict_tgt away.txt: no such file"),
        ({"source": "away.txt"}, None, "dict_src: a model of the kind language_model has no such dictionary"),
        ({"target": "long"}, None, "dict_tgt .*: has 7 entries, the model embeds 6"),
        ({"target": "none"}, None, "dict_tgt .*: not a dictionary of fairseq's"),
    ],
)
def test_a_dictionary_that_does_not_fit_is_refused(tmp_path, given, data, message):
    files = {"long": write_dictionary(tmp_path / "long", "a b c".split()), "none": str(tmp_path / "none")}
    (tmp_path / "none").write_text("no number\n")
    given = {side: files.get(name, name) for side, name in given.items()}
    with pytest.raises(UserError, match=message):
        read_vocabulary("language_model", SimpleNamespace(data="gone"), {"target": 6}, given, data)


@pytest.fixture(scope="module")
def subword_model(tmp_path_factory):
    path = tmp_path_factory.mktemp("spm") / "model"
    lines = [f"w{i} is the {i}th word" for i in range(50)]
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines), model_prefix=str(path), vocab_size=40, minloglevel=2
    )
    return f"{path}.model"


def test_subword_models_are_one_for_all_sides_or_one_for_each(subword_model):
    processor = sentencepiece.SentencePieceProcessor(model_file=subword_model)
    pieces = [processor.id_to_piece(i) for i in range(40)]
    vocabulary = {"source": pieces, "target": pieces[::-1]}
    assert subword_files([], vocabulary) == {}
    assert subword_files([subword_model], vocabulary) == {"subwords.spm": subword_model}
    two = {"source.spm": subword_model, "target.spm": subword_model}
    assert subword_files([subword_model] * 2, vocabulary) == two
    with pytest.raises(UserError, match="given 3 times; the model has 2 dictionaries"):
        subword_files([subword_model] * 3, vocabulary)
    with pytest.raises(UserError, match="the dictionary knows 0 of its 40 pieces"):
        subword_files([subword_model], {"target": ["a"]})
    with pytest.raises(UserError, match="spm nothing: no such file"):
        subword_files(["nothing"], vocabulary)
    with pytest.raises(UserError, match="not a model of sentencepiece"):
        subword_files([__file__], vocabulary)


def test_the_dictionary_of_a_bert_shows_in_its_pieces():
    uncased = [*SPECIALS, "[unused1]", "Ⅷ".lower(), "good", "##ish", "<mask>", "madeupword0001"]
    assert looks_like_wordpiece(uncased) and is_lower_case(uncased)
    assert not looks_like_wordpiece(["##", "#", "good"])
    assert not is_lower_case([*uncased, "Good"])
