"""How an exported model splits text: which subword model belongs to its dictionaries."""

from __future__ import annotations

import os
import re
from typing import Dict, List, Sequence

from fairseq_lite.errors import ArgumentError
from fairseq_lite.export.vocabularies import Vocabulary

SENTENCEPIECE, WORDPIECE = "sentencepiece", "wordpiece"
# A dictionary of another model shares fewer pieces than this with a subword model.
LEAST_KNOWN = 0.5


def subword_files(models: Sequence[str], vocabulary: Vocabulary) -> Dict[str, str]:
    """The subword models to copy: name in the folder -> path.

    One model serves all sides as subwords.spm; two are source.spm and target.spm. Raises ArgumentError for a file that
    is no sentencepiece model, or one whose pieces the dictionary does not know.
    """
    if len(models) > len(vocabulary):
        problem = f"given {len(models)} times; the model has {len(vocabulary)} dictionaries"
        raise ArgumentError("spm", models[-1], problem)
    if len(models) == 1:
        _check(models[0], [piece for pieces in vocabulary.values() for piece in pieces])
        return {"subwords.spm": models[0]}
    for path, side in zip(models, vocabulary):
        _check(path, vocabulary[side])
    return {f"{side}.spm": path for path, side in zip(models, vocabulary)}


def _check(path: str, known: List[str]) -> None:
    try:
        import sentencepiece
    except ModuleNotFoundError:
        problem = "the package sentencepiece reads it; pip install sentencepiece"
        raise ArgumentError("spm", path, problem) from None
    if not os.path.isfile(path):
        raise ArgumentError("spm", path, "no such file; give the .model file of sentencepiece")
    try:
        model = sentencepiece.SentencePieceProcessor(model_file=path)
    except (OSError, RuntimeError):
        raise ArgumentError("spm", path, "not a model of sentencepiece") from None
    pieces = [model.id_to_piece(i) for i in range(model.get_piece_size())]
    words = set(known)
    found = sum(piece in words for piece in pieces)
    if found < LEAST_KNOWN * len(pieces):
        problem = f"the dictionary knows {found} of its {len(pieces)} pieces; give the model's own"
        raise ArgumentError("spm", path, problem)


def looks_like_wordpiece(pieces: Sequence[str]) -> bool:
    """Whether a dictionary is that of a BERT, whose pieces within a word start with ##."""
    return any(piece.startswith("##") and len(piece) > 2 for piece in pieces)


def is_lower_case(pieces: Sequence[str]) -> bool:
    """Whether no piece but marks in brackets has a capital letter, as in the dictionary of an uncased BERT."""
    mark = re.compile(r"[\[<].*[\]>]|madeupword\d+")
    return not any(piece != piece.lower() for piece in pieces if not mark.fullmatch(piece))


def looks_like_sentencepiece(pieces: Sequence[str]) -> bool:
    """Whether a dictionary's pieces carry sentencepiece's mark of the start of a word."""
    return any(piece.startswith("\u2581") for piece in pieces)
