"""A checkpoint as an exported folder."""

from __future__ import annotations

import os
from typing import Any, Dict, List, NamedTuple, Optional, Sequence, Tuple, Union

from fairseq.models import BaseFairseqModel

from fairseq_lite.checkpoints import Checkpoint, StrPath, architecture_of, model_of, read_checkpoint, require_finite
from fairseq_lite.errors import ArgumentError, UserError
from fairseq_lite.export.config import CLASSIFICATION, LANGUAGE_MODEL, TRANSLATION, Config
from fairseq_lite.export.shortlist import Shortlist, read_pairs, shortlist_of
from fairseq_lite.export.subwords import (
    SENTENCEPIECE,
    WORDPIECE,
    is_lower_case,
    looks_like_sentencepiece,
    looks_like_wordpiece,
    subword_files,
)
from fairseq_lite.export.vocabularies import Vocabulary, data_folder, languages, read_labels, read_vocabulary
from fairseq_lite.measure.inputs import ENCODER, ENCODER_DECODER, kind_of
from fairseq_lite.measure.inputs import LANGUAGE_MODEL as A_LANGUAGE_MODEL
from fairseq_lite.measure.mult_adds import count_mult_adds

KINDS = {ENCODER_DECODER: TRANSLATION, A_LANGUAGE_MODEL: LANGUAGE_MODEL, ENCODER: CLASSIFICATION}
BITS = (32, 8, 4)
DEFAULT_BEAM = 5


class Exported(NamedTuple):
    """What `export_checkpoint` wrote.

    Args:
        kind: "translation", "language_model" or "classification"
        bytes: of the folder
        note: what was probably forgotten, "" for nothing

    Examples:
        >>> from fairseq_lite.export import Exported
        >>> Exported("translation", 1_000_000, "").note
        ''
    """

    kind: str
    bytes: int
    note: str


def export_checkpoint(
    checkpoint: StrPath,
    folder: StrPath,
    *,
    bits: int = 32,
    beam: Optional[int] = None,
    portable: bool = False,
    step: bool = False,
    spm: Union[StrPath, Sequence[StrPath]] = (),
    dict_src: Optional[StrPath] = None,
    dict_tgt: Optional[StrPath] = None,
    data: Optional[StrPath] = None,
    shortlist: Optional[int] = None,
) -> Exported:
    """Write a checkpoint as a folder that runs without torch and fairseq, as `fairseq-lite export` does.

    Args:
        checkpoint: file of fairseq's or of this plugin's, compressed or not
        folder: to make; one that exists must be empty
        bits: bits a weight, 32, 8 or 4
        beam: default beam of the folder, 5 unless given; a classifier has none
        portable: whether to use standard operators of ONNX alone
        step: whether to add the encoder and one step of the decoder, to sample, stream and score
        spm: sentencepiece model to copy, or those of source and target
        dict_src, dict_tgt: dictionaries; by default those of the data folder
        data: folder that fairseq-preprocess wrote; by default the one that the checkpoint names
        shortlist: of a translator, let each source word bring at most so many target words into a translation, which
            are learnt from the training text in the data folder; any word may appear by default

    Raises ArgumentError for files that are missing or do not fit the model and for options that cannot take effect,
    UserError for a model that is not exported and where onnx is not installed. Nothing is written then.

    Examples:
        >>> from fairseq_lite import export_checkpoint
        >>> export_checkpoint("checkpoint.pt", "exported", bits=8, beam=4).kind
        'translation'
    """
    _require_onnx()
    models = [os.fspath(model) for model in ([spm] if isinstance(spm, (str, os.PathLike)) else spm)]
    dictionaries = {"source": dict_src and os.fspath(dict_src), "target": dict_tgt and os.fspath(dict_tgt)}
    options = _Options(bits, beam, portable, step, models, dictionaries, data and os.fspath(data), shortlist)
    return _export(os.fspath(checkpoint), os.fspath(folder), options)


class _Options(NamedTuple):
    bits: int
    beam: Optional[int]
    portable: bool
    step: bool
    spm: List[str]
    dictionaries: Dict[str, Optional[str]]
    data: Optional[str]
    shortlist: Optional[int]


def _export(path: str, folder: str, options: _Options) -> Exported:
    """Check all that can be checked, then make the graphs, then write."""
    from fairseq_lite.export.folder import check_folder, write_folder

    if options.bits not in BITS:
        raise ArgumentError("bits", options.bits, f"must be one of {', '.join(map(str, BITS))}")
    check_folder(folder)
    checkpoint = read_checkpoint(path)
    require_finite(checkpoint["model"], path)
    model = model_of(checkpoint, path)
    kind = KINDS[kind_of(model)]
    _check_options(kind, options)
    vocabulary = _vocabulary(path, checkpoint, model, kind, options)
    config = _config(checkpoint, model, kind, vocabulary, options)
    subwords, note = _subwords(options.spm, config, vocabulary)
    shortlist = _shortlist(checkpoint["cfg"]["task"], vocabulary, options) if options.shortlist else None
    graphs = _graphs(model, config, options.step, shortlist)
    return Exported(kind, write_folder(folder, config, vocabulary, graphs, subwords), note)


def _require_onnx() -> None:
    try:
        import onnx  # noqa: F401
    except ModuleNotFoundError:
        raise UserError("the package onnx writes exported folders; pip install 'fairseq-lite[export]'") from None


def _check_options(kind: str, options: _Options) -> None:
    """Refuse options that could not take effect."""
    if options.beam is not None and options.beam < 1:
        raise ArgumentError("beam", options.beam, "must be at least 1")
    if options.shortlist is not None and options.shortlist < 1:
        raise ArgumentError("shortlist", options.shortlist, "must be at least 1")
    if options.shortlist is not None and kind != TRANSLATION:
        raise ArgumentError("shortlist", options.shortlist, "only a translator has source words; leave it out")
    if kind != CLASSIFICATION:
        return
    for name in ("beam", "step"):
        if getattr(options, name):
            raise ArgumentError(name, "", "a classifier has none; leave it out")


def _vocabulary(path: str, checkpoint: Checkpoint, model: BaseFairseqModel, kind: str, options: _Options) -> Vocabulary:
    """The pieces of each side and a classifier's labels."""
    task = checkpoint["cfg"]["task"]
    classes = _classes(path, task, model) if kind == CLASSIFICATION else 0
    vocabulary = read_vocabulary(kind, task, _rows(model, kind), options.dictionaries, options.data)
    if kind == CLASSIFICATION:
        vocabulary["labels"] = read_labels(task, classes, options.data)
    return vocabulary


def _rows(model: BaseFairseqModel, kind: str) -> Dict[str, int]:
    """Entries that the model has on each side."""
    if kind == CLASSIFICATION:
        return {"source": model.encoder.sentence_encoder.embed_tokens.num_embeddings}
    parts = {"source": model.encoder, "target": model.decoder} if kind == TRANSLATION else {"target": model.decoder}
    without = [side for side, part in parts.items() if getattr(part, "dictionary", None) is None]
    if without:
        raise UserError(f"{type(model).__name__}: has no {without[0]} dictionary; models of text are exported")
    return {side: len(part.dictionary) for side, part in parts.items()}


def _classes(path: str, task: Any, model: BaseFairseqModel) -> int:
    heads = list(getattr(model, "classification_heads", ()))
    if len(heads) != 1:
        raise UserError(f"{path}: has {len(heads)} classification heads; an encoder with one is exported")
    if getattr(task, "regression_target", False):
        raise UserError(f"{path}: its head predicts a number (--regression-target); a head for classes is exported")
    return model.classification_heads[heads[0]].out_proj.out_features


def _config(
    checkpoint: Checkpoint, model: BaseFairseqModel, kind: str, vocabulary: Vocabulary, options: _Options
) -> Config:
    task, limits = checkpoint["cfg"]["task"], model.max_positions()
    source, target = limits if kind == TRANSLATION else (None, limits) if kind == LANGUAGE_MODEL else (limits, None)
    bos = {LANGUAGE_MODEL: getattr(task, "add_bos_token", False), CLASSIFICATION: _starts_with_bos(task)}
    wordpiece = kind == CLASSIFICATION and looks_like_wordpiece(vocabulary["source"])
    beam = DEFAULT_BEAM if options.beam is None else options.beam
    return Config(
        kind=kind,
        architecture=architecture_of(checkpoint["cfg"]["model"]),
        bits=options.bits,
        portable=options.portable,
        add_bos=bool(bos.get(kind)),
        max_source=source,
        max_target=target,
        subwords=WORDPIECE if wordpiece else SENTENCEPIECE if options.spm else None,
        lower_case=wordpiece and is_lower_case(vocabulary["source"]),
        shortlist=options.shortlist,
        mult_adds=_mult_adds(model),
        options={} if kind == CLASSIFICATION else {"beam": beam},
    )


def _starts_with_bos(task: Any) -> bool:
    token = getattr(task, "init_token", None)
    if token not in (None, 0):
        raise UserError(
            f"--init-token {token}: the checkpoint's text starts with it; only 0, the entry <s>, is exported"
        )
    return token == 0


def _mult_adds(model: BaseFairseqModel) -> Optional[int]:
    """Those of 30 tokens a side; None for a model with an operator that is not counted."""
    try:
        return count_mult_adds(model).total
    except UserError:
        return None


def _subwords(models: List[str], config: Config, vocabulary: Vocabulary) -> Tuple[Dict[str, str], str]:
    """The subword models to copy, and a note where one seems to be forgotten."""
    if models and config.subwords == WORDPIECE:
        raise ArgumentError("spm", models[0], "the dictionary has the word pieces of a BERT; leave it out")
    texts = {side: pieces for side, pieces in vocabulary.items() if side != "labels"}
    files = subword_files(models, texts)
    forgotten = not files and config.subwords is None and looks_like_sentencepiece(next(iter(texts.values())))
    return files, "the dictionary has sentencepiece's pieces; without --spm text must come split" if forgotten else ""


def _shortlist(task: Any, vocabulary: Vocabulary, options: _Options) -> Shortlist:
    """What the training text in the data folder suggests."""
    folder = data_folder(task, options.data)
    pairs = read_pairs(folder, *languages(task, folder), [len(vocabulary[side]) for side in ("source", "target")])
    return shortlist_of(pairs, options.shortlist, vocabulary["source"], vocabulary["target"])


def _graphs(
    model: BaseFairseqModel, config: Config, step: bool, shortlist: Optional[Shortlist] = None
) -> Dict[str, Any]:
    """File name -> graph."""
    from fairseq_lite.export.graphs import write
    from fairseq_lite.export.steps import write_steps

    graphs = {"model.onnx": write(model, config, shortlist)}
    if step:
        steps, config.states = write_steps(model, config)
        graphs.update(steps)
    return graphs
