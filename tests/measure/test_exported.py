"""Exported folders in fairseq-lite size and latency."""

import json

import numpy as np
import pytest
from toys import classifier_folder, language_model_folder, translation_folder

from fairseq_lite import cli
from fairseq_lite.export.config import Config
from fairseq_lite.export.folder import write_folder
from fairseq_lite.export.graph import Graph
from fairseq_lite.measure.exported import folder_bytes_by_part


def graph(*names):
    g = Graph("weights")
    x = g.input("x", np.float32, ["B", 20])
    for number, name in enumerate(names):
        x = g.op("MatMul", x, g.weight(name, np.full((20, 20), number, np.float32)))
    g.output("y", x, np.float32, ["B", 20])
    return g.model({})


@pytest.mark.parametrize("graphs", [("model.onnx",), ("model.onnx", "step.onnx")])
def test_bytes_by_part_are_all_files_and_a_shared_weight_counts_once(tmp_path, graphs):
    names = "encoder.embed_tokens.weight", "decoder.layers.0.fc1.weight.codes", "decoder.layers.0.fc2.weight"
    models = {name: graph(*names) for name in graphs}
    size = write_folder(str(tmp_path / "out"), Config("translation", "toy", 32, True), {}, models, {})
    parts = folder_bytes_by_part(str(tmp_path / "out"))
    assert sum(parts.values()) == size
    assert (parts["embeddings"], parts["FFN"], parts["attention"]) == (1600, 3200, 0)


def test_size_shows_a_folder(tmp_path, capsys):
    translation_folder(tmp_path / "out")
    assert cli.main(["size", str(tmp_path / "out"), "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert found["total"] == sum(path.stat().st_size for path in (tmp_path / "out").iterdir())


@pytest.mark.parametrize("write", [translation_folder, language_model_folder, classifier_folder])
def test_latency_times_a_folder(tmp_path, capsys, write, monkeypatch):
    monkeypatch.setattr("toys.echo_graph", echo_with_lengths)
    write(tmp_path / "out", **{"max_target" if write is language_model_folder else "max_source": 100})
    arguments = ["--batch-sizes", "1", "3", "--rounds", "2", "--beam", "2", "--json"]
    assert cli.main(["latency", str(tmp_path / "out"), str(tmp_path / "out"), *arguments]) == 0
    found = json.loads(capsys.readouterr().out)["latencies"]
    assert [row["batch_size"] for row in found] == [1, 1, 3, 3]


def echo_with_lengths(name):
    """A graph with the inputs of a search, which returns what it reads."""
    g = Graph("echo")
    ids = g.input(name, np.int64, ["B", "S"])
    total = ids
    for option in ("beam", "min_len", "max_len_b"):
        total = g.op("Add", total, g.input(option, np.int64, [], default=1))
    for output in ("tokens", "scores", "lengths"):
        g.output(output, total, np.int64, ["B", "S"])
    return g.model({})


def test_a_folder_that_was_not_exported_is_refused(tmp_path, capsys):
    for command in ("size", "latency"):
        assert cli.main([command, str(tmp_path)]) == 2
        assert "no exported folder; give a checkpoint, or a folder" in capsys.readouterr().err
