"""The pieces of an exported model's dictionaries, in the order of their ids."""

from __future__ import annotations

import os
from typing import Any, Dict, List, Optional

from fairseq.data import Dictionary
from fairseq.data.data_utils import infer_language_pair

from fairseq_lite.errors import ArgumentError, UserError
from fairseq_lite.export.config import CLASSIFICATION, LANGUAGE_MODEL, TRANSLATION

Vocabulary = Dict[str, List[str]]
ARGUMENTS = {"source": "dict_src", "target": "dict_tgt"}
# The sides whose text each kind of model reads or writes.
SIDES = {TRANSLATION: ("source", "target"), LANGUAGE_MODEL: ("target",), CLASSIFICATION: ("source",)}


def read_vocabulary(
    kind: str, task: Any, rows: Dict[str, int], given: Dict[str, Optional[str]], data: Optional[str] = None
) -> Vocabulary:
    """The pieces of each side, in the order of their ids.

    Args:
        task: options of the task in the checkpoint, which name the data folder and the languages
        rows: entries that the model embeds on each side
        given: dictionary files that the user named, for each side or None
        data: folder to look into instead of the checkpoint's

    Raises ArgumentError for a file that is missing, is no dictionary or has other entries than the model, UserError
    where the checkpoint names it.
    """
    unused = [ARGUMENTS[side] for side, path in given.items() if path and side not in SIDES[kind]]
    if unused:
        raise ArgumentError(unused[0], "", f"a model of the kind {kind} has no such dictionary; leave it out")
    folder = data_folder(task, data)
    vocabulary = {}
    for side in SIDES[kind]:
        path = given.get(side) or os.path.join(folder, _file_name(kind, side, task, folder))
        argument = ARGUMENTS[side] if given.get(side) else "data" if data else None
        vocabulary[side] = _pieces(path, argument or ARGUMENTS[side], given=argument is not None, rows=rows[side])
    return vocabulary


def read_labels(task: Any, classes: int, data: Optional[str] = None) -> List[str]:
    """The names of a classifier's classes in the order of its outputs, from label/dict.txt of the data folder.

    Raises ArgumentError where the file is missing or names fewer classes, or where the folder holds pairs of sentences.
    """
    folder = data or str(getattr(task, "data", None) or "")
    if os.path.isdir(os.path.join(folder, "input1")):
        problem = "holds pairs of sentences (input1); an exported classifier takes single ones"
        raise ArgumentError("data", folder, problem)
    path = os.path.join(folder, "label", "dict.txt")
    dictionary = _load(path, "data", given=data is not None)
    labels = dictionary.symbols[dictionary.nspecial :][:classes]
    if len(labels) < classes:
        raise ArgumentError("data", folder, f"label/dict.txt names {len(labels)} classes, the model has {classes}")
    return labels


def data_folder(task: Any, given: Optional[str]) -> str:
    """The data folder that the user named, or else the first that the checkpoint's task names."""
    return given or str(getattr(task, "data", None) or "").split(os.pathsep)[0]


def languages(task: Any, folder: str) -> List[str]:
    """The languages of source and target, by the task or else by the files of the data folder."""
    named = [getattr(task, f"{side}_lang", None) for side in ("source", "target")]
    found = infer_language_pair(folder) if None in named and os.path.isdir(folder) else named
    return [str(name or other) for name, other in zip(named, found)]


def _file_name(kind: str, side: str, task: Any, folder: str) -> str:
    if kind == LANGUAGE_MODEL:
        return "dict.txt"
    if kind == CLASSIFICATION:
        return os.path.join("input0", "dict.txt")
    return f"dict.{languages(task, folder)[0 if side == 'source' else 1]}.txt"


def _pieces(path: str, argument: str, given: bool, rows: int) -> List[str]:
    pieces = list(_load(path, argument, given).symbols)
    if rows == len(pieces) + 1 and "<mask>" not in pieces:
        pieces.append("<mask>")  # as the tasks of masked words do
    if len(pieces) != rows:
        problem = f"has {len(pieces)} entries, the model embeds {rows}; give its own dictionary"
        raise ArgumentError(argument, path, problem)
    return pieces


def _load(path: str, argument: str, given: bool) -> Dictionary:
    if not os.path.isfile(path):
        if given:
            raise ArgumentError(argument, path, "no such file; give a dict.*.txt that fairseq-preprocess wrote")
        option = "--" + argument.replace("_", "-")
        raise UserError(
            f"{path}: no such file, though the checkpoint names it; give {option} FILE, or --data with the folder that "
            "fairseq-preprocess wrote"
        )
    try:
        return Dictionary.load(path)
    except (ValueError, RuntimeError, UnicodeError) as error:
        reason = " ".join(str(error).split())
        raise ArgumentError(argument, path, f"not a dictionary of fairseq's ({reason})") from None
