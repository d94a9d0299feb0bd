"""Writing the exported folder: as a whole or not at all."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import secrets
import shutil
from typing import Dict, Iterator, List, Mapping

import onnx

from fairseq_lite.errors import UserError
from fairseq_lite.export.config import Config
from fairseq_lite.output_files import check_output

WEIGHTS = "weights.bin"
# Smaller tensors stay in the graph, where onnxruntime reads shapes and axes while it optimises.
LEAST_SHARED = 1024
ALIGNMENT = 64


def check_folder(path: str) -> None:
    """Raise UserError where a folder cannot be made: it exists and is not empty, or its parent cannot be written."""
    if os.path.lexists(path) and not (os.path.isdir(path) and not os.listdir(path)):
        raise UserError(f"{path}: exists already; name a new folder for the export")
    check_output(_temporary(path))


def write_folder(
    path: str,
    config: Config,
    vocabulary: Mapping[str, List[str]],
    graphs: Mapping[str, onnx.ModelProto],
    subwords: Mapping[str, str],
) -> int:
    """Write an exported folder and return its bytes.

    Everything is written under a temporary name beside `path`, which a failure removes, and renamed at the end.

    Args:
        graphs: file name -> graph; where there are several, their weights go once into weights.bin
        subwords: file name -> path of a subword model to copy
    """
    temporary = _temporary(path)
    os.mkdir(temporary)
    try:
        files = {}
        for name, content in _contents(config, vocabulary, graphs, subwords):
            files[name] = hashlib.sha256(content).hexdigest()
            _write(os.path.join(temporary, name), content)
        config = dataclasses.replace(config, files=files)
        _write(os.path.join(temporary, "config.json"), config.text().encode())
        size = sum(os.path.getsize(os.path.join(temporary, name)) for name in os.listdir(temporary))
        os.replace(temporary, path.rstrip(os.sep))
        return size
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror}); nothing was changed") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _temporary(path: str) -> str:
    folder, name = os.path.split(os.path.abspath(path))
    return os.path.join(folder, f".{name[:40]}.{secrets.token_hex(6)}.tmp")


def _contents(config, vocabulary, graphs, subwords) -> Iterator:
    """(name, bytes) of each file but config.json."""
    for model in graphs.values():
        onnx.helper.set_model_props(model, config.metadata())
    if len(graphs) > 1:
        yield WEIGHTS, share_weights(list(graphs.values()))
    for name, model in graphs.items():
        yield name, model.SerializeToString()
    for name, path in subwords.items():
        with open(path, "rb") as file:
            yield name, file.read()
    yield "vocab.json", json.dumps(vocabulary, ensure_ascii=False).encode()


def _write(path: str, content: bytes) -> None:
    with open(path, "xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def share_weights(models: List[onnx.ModelProto]) -> bytes:
    """Move the weights of graphs into one file, each once however many graphs have it; returns the file's bytes."""
    content = bytearray()
    places: Dict[bytes, int] = {}
    for model in models:
        for tensor in _initializers(model.graph):
            raw = tensor.raw_data
            if len(raw) < LEAST_SHARED:
                continue
            key = hashlib.sha256(raw).digest()
            if key not in places:
                content.extend(bytes(-len(content) % ALIGNMENT))
                places[key] = len(content)
                content.extend(raw)
            _refer(tensor, places[key], len(raw))
    return bytes(content)


def _initializers(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                yield from _initializers(attribute.g)


def _refer(tensor: onnx.TensorProto, offset: int, length: int) -> None:
    """Let a tensor lie in weights.bin."""
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    for key, value in {"location": WEIGHTS, "offset": offset, "length": length}.items():
        tensor.external_data.add(key=key, value=str(value))
