"""Exported folders where checkpoints are measured: their bytes by part, and batches to time."""

from __future__ import annotations

import json
import os
from typing import Any, Callable, Dict, Iterator, Optional, Tuple, Union

import numpy as np

from fairseq_lite.errors import UserError
from fairseq_lite.measure.kinds import ENCODER, ENCODER_DECODER, LANGUAGE_MODEL
from fairseq_lite.measure.sizes import PARTS, REST, part_of

GRAPHS = ("model.onnx", "encoder.onnx", "step.onnx")
KINDS = {"translation": ENCODER_DECODER, "language_model": LANGUAGE_MODEL, "classification": ENCODER}
# where an export names no limit
ANY_LENGTH = 10**6
SPECIALS = 4
SEED = 1


def is_exported(path: str) -> bool:
    """Whether a path is a folder, which among what is measured only fairseq-lite export writes."""
    return os.path.isdir(path)


def read_config(path: str) -> Dict[str, Any]:
    """config.json of an exported folder; raises UserError if there is none."""
    try:
        with open(os.path.join(path, "config.json"), encoding="utf-8") as file:
            config = json.load(file)
        if config["kind"] in KINDS:
            return config
    except (OSError, ValueError, KeyError, TypeError):
        pass
    raise UserError(f"{path}: no exported folder; give a checkpoint, or a folder that fairseq-lite export wrote")


def folder_bytes_by_part(path: str) -> Dict[str, int]:
    """Bytes of an exported folder by part of the model; together they are all its files.

    A weight that two graphs share counts once. Vocabulary, subwords, graphs and config.json are the rest.
    """
    config = read_config(path)
    parts = dict.fromkeys(PARTS, 0)
    shared = set()
    for name in filter(config["files"].__contains__, GRAPHS):
        for weight, size, place in _weights(os.path.join(path, name)):
            if place is None or place not in shared:
                parts[part_of(weight)] += size
            shared.add(place)
    total = sum(entry.stat().st_size for entry in os.scandir(path))
    parts[REST] = total - sum(parts.values())
    return parts


def _weights(path: str) -> Iterator[Tuple[str, int, Optional[str]]]:
    """(name, bytes, offset in weights.bin or None) of each weight of a graph."""
    try:
        import onnx
    except ModuleNotFoundError:
        raise UserError(f"{path}: the package onnx reads it; pip install 'fairseq-lite[export]'") from None
    try:
        model = onnx.load(path, load_external_data=False)
    except Exception as error:
        raise UserError(f"{path}: not a readable graph ({' '.join(str(error).split())}); export again") from None
    for tensor in _initializers(model.graph):
        external = {entry.key: entry.value for entry in tensor.external_data}
        size = int(external["length"]) if external else len(tensor.raw_data)
        if not tensor.name.startswith("constant_"):
            yield tensor.name, size, external.get("offset")


def _initializers(graph) -> Iterator:
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from _initializers(attribute.g)


class ExportedModel:
    """An exported folder in onnxruntime.

    Args:
        path: what fairseq-lite export wrote
        threads: of one operator; None for onnxruntime's own choice
    """

    def __init__(self, path: str, threads: Optional[int] = None):
        self.config = read_config(path)
        self.kind = KINDS[self.config["kind"]]
        with open(os.path.join(path, "vocab.json"), encoding="utf-8") as file:
            vocabulary = json.load(file)
        self.words = len(vocabulary.get("source") or vocabulary["target"])
        self.session = _session(os.path.join(path, "model.onnx"), threads)

    def max_positions(self) -> Union[int, Tuple[int, int]]:
        """As fairseq's models have it: the longest source and target, or the one that there is."""
        source, target = (self.config[name] or ANY_LENGTH for name in ("max_source", "max_target"))
        return {ENCODER_DECODER: (source, target), LANGUAGE_MODEL: target, ENCODER: source}[self.kind]

    def batch_run(self, batch_size: int, src_len: int, tgt_len: int, beam: int) -> Callable[[], object]:
        """What is timed, without arguments: the work of `fairseq_lite.measure.latency.batch_run`."""
        source = np.random.default_rng(SEED).integers(SPECIALS, self.words, (batch_size, src_len))
        if self.kind == ENCODER:
            return lambda: self.session.run(None, {"source": source})
        text = {"source": source} if self.kind == ENCODER_DECODER else {"prefix": source[:, :0]}
        steps = np.array(tgt_len - 1)
        options = {"beam": np.array(beam), "max_len_b": steps, "min_len": steps}
        return lambda: self.session.run(None, {**text, **options})


def _session(path: str, threads: Optional[int]):
    try:
        import onnxruntime
    except ModuleNotFoundError:
        raise UserError(f"{path}: the package onnxruntime runs it; pip install onnxruntime") from None
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    if threads is not None:
        options.intra_op_num_threads = threads
    try:
        return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise UserError(f"{path}: onnxruntime refuses it ({' '.join(str(error).split())}); export again") from None
