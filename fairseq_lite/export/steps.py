"""The encoder and one step of the decoder as graphs of their own, for sampling, streaming and scoring."""

from __future__ import annotations

from typing import Dict, List, NamedTuple, Tuple

import numpy as np
import onnx
import torch.nn as nn

from fairseq_lite.export.config import Config
from fairseq_lite.export.decoder import DecoderWriter
from fairseq_lite.export.encoder import EncoderWriter
from fairseq_lite.export.graph import Graph
from fairseq_lite.export.model import writers_of
from fairseq_lite.export.rows import SENTENCE, State


class NamedState(NamedTuple):
    """A state of the decoder under the name that it has in both graphs."""

    name: str
    state: State

    def described(self) -> Dict:
        """The state as config.json has it."""
        return {
            "name": self.name,
            "shape": list(self.state.shape),
            "dtype": np.dtype(self.state.dtype).name,
            "per": self.state.per,
        }


def named(states: List[State]) -> List[NamedState]:
    """The states, numbered in the order of the decoder."""
    return [NamedState(f"state_{number}", state) for number, state in enumerate(states)]


def encoder_graph(encoder: EncoderWriter, decoder: DecoderWriter) -> Graph:
    """source: [B, S] -> the states that are computed once a sentence."""
    g = Graph("encoder")
    tokens = g.input("source", np.int64, ["sentences", "length"])
    for name, state in named(decoder.sentence_states(g, [encoder.write(g, tokens), tokens])):
        g.output(name, state.value, state.dtype, state.shape)
    return g


def states_of(decoder: DecoderWriter) -> List[NamedState]:
    """All states of a decoder in order, without a graph that they are values of."""
    g = Graph("states")
    shapes = ([None, None, None], [None, None])
    sentences = [g.input(g.fresh("any"), dtype, shape) for dtype, shape in zip((np.float32, np.int64), shapes)]
    return named(decoder.begin(g, sentences if decoder.crosses else [], g.constant(np.int64(1))))


def step_graph(decoder: DecoderWriter) -> Graph:
    """token: [N], position: [] counted from 0, all states -> log_probs: [N, V], the row states after the step."""
    g = Graph("step", rows=1)
    token, position = g.input("token", np.int64, ["rows"]), g.input("position", np.int64, [])
    states = states_of(decoder)
    values = [g.input(name, state.dtype, state.shape) for name, state in states]
    logits, after = decoder.step(g, token, position, values, g)
    g.output("log_probs", g.op("LogSoftmax", logits, axis=1), np.float32, ["rows", decoder.vocabulary])
    rows = [(name, state) for name, state in states if state.per != SENTENCE]
    for (name, state), value in zip(rows, after):
        g.output(f"{name}_after", value, state.dtype, state.shape)
    return g


def write_steps(model: nn.Module, config: Config) -> Tuple[Dict[str, onnx.ModelProto], List[Dict]]:
    """File name -> graph of the encoder, if there is one, and of one step; then the states as config.json has them.

    Raises UserError as `fairseq_lite.export.graphs.write` does.
    """
    writers = writers_of(model, config.bits, config.portable)
    graphs = {"step.onnx": step_graph(writers.decoder)}
    if writers.encoder is not None:
        graphs["encoder.onnx"] = encoder_graph(*writers)
    for graph in graphs.values():
        config.require(graph.operators)
    models = {name: graph.model(config.metadata()) for name, graph in graphs.items()}
    return models, [state.described() for state in states_of(writers.decoder)]
