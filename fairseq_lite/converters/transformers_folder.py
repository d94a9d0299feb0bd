"""The files of a folder as transformers saves a model: its options, its weights and its vocabulary."""

from __future__ import annotations

import inspect
import json
import os
from typing import Any, Callable, Dict, List, Sequence

import torch

from fairseq_lite.archives import require_whole_archive
from fairseq_lite.checkpoints import StateDict, require_stored
from fairseq_lite.errors import UserError
from fairseq_lite.explain import unreadable_checkpoint


def file_of(folder: str, names: Sequence[str]) -> str:
    """The path of the first of some files that is there; raises UserError if none is."""
    paths = [os.path.join(folder, name) for name in names]
    found = next(filter(os.path.isfile, paths), None)
    if found is None:
        raise UserError(f"{' or '.join(paths)}: no such file; give the folder that transformers' save_pretrained wrote")
    return found


def read_json(path: str) -> Any:
    """What a file of JSON holds; raises UserError if it is none."""
    try:
        with open(path, encoding="utf-8") as file:
            return json.load(file)
    except ValueError as error:
        raise UserError(f"{path}: not JSON ({error})") from None


def read_weights(path: str) -> StateDict:
    """Weights by name, in single precision; raises UserError for a file that is damaged or holds anything else."""
    state = (_read_safetensors if path.endswith(".safetensors") else _read_bin)(path)
    return {name: tensor.float() for name, tensor in state.items()}


def _read_safetensors(path: str) -> StateDict:
    try:
        from safetensors import SafetensorError
        from safetensors.torch import load_file
    except ModuleNotFoundError:
        raise UserError(f"{path}: the package safetensors reads it; pip install 'fairseq-lite[bert]'") from None
    try:
        return load_file(path)
    except SafetensorError as error:
        raise UserError(f"{path}: not a readable safetensors file ({error})") from None


def _read_bin(path: str) -> StateDict:
    """What torch.save wrote, of which nothing is run."""
    if "weights_only" not in inspect.signature(torch.load).parameters:
        raise UserError(f"{path}: this torch could run a program in it; give model.safetensors, or use torch 1.13")
    require_whole_archive(path)
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise UserError(unreadable_checkpoint(path, error)) from error
    if not isinstance(state, dict) or not all(map(torch.is_tensor, state.values())):
        raise UserError(f"{path}: holds no weights by name; give the file that transformers' save_pretrained wrote")
    require_stored(state, path)
    return state


def read_vocabulary(path: str) -> List[str]:
    """The entries of vocab.txt, vocab.json or tokenizer.json in the order of their numbers.

    Raises UserError for a file of another kind.
    """
    return _READERS[os.path.basename(path)](path)


def _read_lines(path: str) -> List[str]:
    try:
        with open(path, encoding="utf-8") as file:
            return [line.rstrip("\n") for line in file]
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not text in UTF-8 ({error}); give the vocabulary of the model") from None


def _read_numbers(path: str) -> List[str]:
    return _in_order(read_json(path), path)


def _read_tokenizer(path: str) -> List[str]:
    tokenizer = read_json(path)
    try:
        added = {token["content"]: token["id"] for token in tokenizer["added_tokens"]}
        numbers = {**tokenizer["model"]["vocab"], **added}
    except (KeyError, TypeError):
        raise UserError(f"{path}: names no vocabulary with a number for each entry; give vocab.json") from None
    return _in_order(numbers, path)


def _in_order(numbers: Any, path: str) -> List[str]:
    values = list(numbers.values()) if isinstance(numbers, dict) else []
    if not values or not all(type(value) is int for value in values) or sorted(values) != list(range(len(values))):
        raise UserError(f"{path}: does not number its entries from 0, each once; give the vocabulary of the model")
    return sorted(numbers, key=numbers.__getitem__)


_READERS: Dict[str, Callable[[str], List[str]]] = {
    "vocab.txt": _read_lines,
    "vocab.json": _read_numbers,
    "tokenizer.json": _read_tokenizer,
}
