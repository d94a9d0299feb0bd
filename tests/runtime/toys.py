"""Exported folders whose graphs do next to nothing, by the inputs and outputs of real ones."""

import numpy as np

from fairseq_lite.export.config import Config
from fairseq_lite.export.folder import write_folder
from fairseq_lite.export.graph import Graph

SPECIALS = ["<s>", "<pad>", "</s>", "<unk>"]
SOURCE = SPECIALS + ["one", "two", "three"]
TARGET = SPECIALS + ["eins", "zwei", "drei"]
LABELS = ["short", "long"]


def echo_graph(name):
    """A search whose hypotheses are all the ids that it reads, with scores 0, -lenpen, -2 lenpen and on."""
    g = Graph("echo")
    ids = g.input(name, np.int64, ["B", "S"])
    beam = g.input("beam", np.int64, [], default=3)
    lenpen = g.input("lenpen", np.float32, [], default=1.0)
    if name == "prefix":  # the end is the search's
        end = g.op(
            "Expand", g.constant([[2]]), g.op("Concat", g.op("Shape", ids, start=0, end=1), g.constant([1]), axis=0)
        )
        ids = g.op("Concat", ids, end, axis=1)
    kept = g.op("Cast", g.op("Not", g.op("Equal", ids, g.constant(1))), to=7)
    lengths = g.op("ReduceSum", kept, g.constant([1]), keepdims=1)
    row = g.op("Unsqueeze", g.op("Range", g.constant(0), beam, g.constant(1)), g.constant([0]))
    zero = g.op("Mul", row, g.constant(0))
    scores = g.op("Neg", g.op("Mul", g.op("Cast", row, to=1), lenpen))
    rows = g.op("Cast", g.op("Mul", lengths, g.constant(0)), to=1)
    g.output("lengths", g.op("Add", lengths, zero), np.int64, ["B", "beam"])
    g.output("scores", g.op("Add", rows, scores), np.float32, ["B", "beam"])
    beams = g.op("Unsqueeze", zero, g.constant([2]))
    g.output("tokens", g.op("Add", g.op("Unsqueeze", ids, g.constant([1])), beams), np.int64, ["B", "beam", "T"])
    return g.model({})


def length_graph():
    """A classifier of sentences with at most or more than four ids."""
    g = Graph("length")
    source = g.input("source", np.int64, ["B", "S"])
    kept = g.op("Cast", g.op("Not", g.op("Equal", source, g.constant(1))), to=1)
    excess = g.op("Sub", g.op("ReduceSum", kept, g.constant([1]), keepdims=1), g.constant(4.5))
    logits = g.op("Concat", g.op("Neg", excess), excess, axis=1)
    g.output("scores", g.op("LogSoftmax", logits, axis=1), np.float32, ["B", "C"])
    return g.model({})


def translation_folder(path, subwords=None, pieces=None, **changes):
    options = {"subwords": "sentencepiece" if subwords else None, "max_source": 10, **changes}
    config = Config("translation", "toy", 32, True, options={"beam": 3}, **options)
    vocabulary = {"source": pieces or SOURCE, "target": pieces or TARGET}
    write_folder(str(path), config, vocabulary, {"model.onnx": echo_graph("source")}, subwords or {})
    return path


def language_model_folder(path, **changes):
    config = Config("language_model", "toy", 32, True, options={"beam": 3}, **{"max_target": 10, **changes})
    write_folder(str(path), config, {"target": TARGET}, {"model.onnx": echo_graph("prefix")}, {})
    return path


def classifier_folder(path, pieces=None, **changes):
    config = Config("classification", "toy", 32, True, **{"add_bos": True, "max_source": 10, **changes})
    vocabulary = {"source": pieces or SOURCE, "labels": LABELS}
    write_folder(str(path), config, vocabulary, {"model.onnx": length_graph()}, {})
    return path
