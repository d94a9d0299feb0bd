"""Whole models as graphs that run alone."""

from __future__ import annotations

import functools
from typing import Callable, Dict, List, Optional

import numpy as np
import onnx
import torch.nn as nn
from onnx import TensorProto

from fairseq_lite.errors import UserError
from fairseq_lite.export.columns import Columns, of_shortlist
from fairseq_lite.export.config import CLASSIFICATION, LANGUAGE_MODEL, TRANSLATION, Config
from fairseq_lite.export.graph import Graph, Value
from fairseq_lite.export.model import classifier_of, writers_of
from fairseq_lite.export.search import beam_search, search_options
from fairseq_lite.export.shortlist import Shortlist
from fairseq_lite.export.word_scores import Words


def naming_the_architecture(write: Callable) -> Callable:
    """Let the errors of a function of (model, config, ...) begin with the architecture."""

    @functools.wraps(write)
    def write_named(model: nn.Module, config: Config, *more):
        try:
            return write(model, config, *more)
        except UserError as error:
            raise UserError(f"{config.architecture}: {error}") from error

    return write_named


@naming_the_architecture
def write(model: nn.Module, config: Config, shortlist: Optional[Shortlist] = None) -> onnx.ModelProto:
    """The whole model as one graph: beam search inside, or a classifier.

    Raises UserError for a model or an option that is not exported; the error names it.

    Args:
        model: in evaluation mode, as `fairseq_lite.checkpoints.load_model` returns it; prepared for generation in place
        config: kind, bits, portable, limits and the defaults of the graph's inputs; gets the least onnxruntime
        shortlist: of a translator, the words that may translate a source
    """
    graph = Graph("model")
    more = {} if shortlist is None else {"shortlist": shortlist}
    WRITERS[config.kind](graph, model, config, **more)
    config.require(graph.operators)
    return graph.model(config.metadata())


def _translation(g: Graph, model: nn.Module, config: Config, shortlist: Optional[Shortlist] = None) -> None:
    writers = writers_of(model, config.bits, config.portable)
    source = g.input("source", np.int64, ["sentences", "length"])
    # no columns of no sentence, which any number of sentences broadcasts
    prefix = g.input("prefix", np.int64, ["sentences or 1", "prefix"], default=np.zeros((1, 0)))
    sentences = g.shape(g.op("Shape", source, start=0, end=1), 1)
    prefix = g.op("Expand", prefix, sentences)
    lengths = _lengths(g, source, config.pad)
    features = writers.encoder.write(g, source)
    columns = None
    if shortlist is not None:
        columns = of_shortlist(g, shortlist, source, prefix, writers.decoder.vocabulary)
        writers.decoder.restrict(g, columns)
    _search(g, writers.decoder, [features, source], lengths, prefix, config, start=config.eos, columns=columns)


def _language_model(g: Graph, model: nn.Module, config: Config) -> None:
    writers = writers_of(model, config.bits, config.portable)
    prefix = g.input("prefix", np.int64, ["sentences", "prefix"])
    # as in fairseq, the word that a text starts with counts as a part of its prompt
    lengths = g.op("Add", _lengths(g, prefix, config.pad), g.constant(1))
    start = config.bos if config.add_bos else config.eos
    _search(g, writers.decoder, [], lengths, prefix, config, start)


def _lengths(g: Graph, tokens: Value, pad: int) -> Value:
    """Number of tokens of each sentence: [B]."""
    real = g.op("Cast", g.op("Not", g.op("Equal", tokens, g.constant(pad))), to=TensorProto.INT64)
    return g.op("ReduceSum", real, g.constant([1]), keepdims=0)


def _search(
    g: Graph,
    decoder,
    sentences: List[Value],
    lengths: Value,
    prefix: Value,
    config: Config,
    start: int,
    columns: Optional[Columns] = None,
) -> None:
    """Declare the search's options, write it and its outputs."""
    options = search_options(g, config.options)
    words = Words(start=start, pad=config.pad, eos=config.eos, unk=config.unk)
    found = beam_search(g, decoder, sentences, lengths, prefix, options, words, decoder.max_positions, columns)
    g.output("tokens", found.tokens, np.int64, ["sentences", "beam", "words"])
    g.output("scores", found.scores, np.float32, ["sentences", "beam"])
    g.output("lengths", found.lengths, np.int64, ["sentences", "beam"])


def _classification(g: Graph, model: nn.Module, config: Config) -> None:
    classifier = classifier_of(model, config.bits, config.portable)
    source = g.input("source", np.int64, ["sentences", "length"])
    g.output("scores", classifier.write(g, source), np.float32, ["sentences", classifier.classes])


WRITERS: Dict[str, Callable[[Graph, nn.Module, Config], None]] = {
    TRANSLATION: _translation,
    LANGUAGE_MODEL: _language_model,
    CLASSIFICATION: _classification,
}
