"""fairseq-lite export: a checkpoint into a folder that runs without torch and fairseq."""

import sys
from typing import Optional

from fairseq_lite.checkpoints import architecture_of, model_of, read_checkpoint, require_finite
from fairseq_lite.errors import UserError
from fairseq_lite.export.config import CLASSIFICATION, LANGUAGE_MODEL, TRANSLATION, Config
from fairseq_lite.export.folder import check_folder, write_folder
from fairseq_lite.export.subwords import (
    SENTENCEPIECE,
    WORDPIECE,
    is_lower_case,
    looks_like_sentencepiece,
    looks_like_wordpiece,
    subword_files,
)
from fairseq_lite.export.vocabularies import read_labels, read_vocabulary
from fairseq_lite.measure.inputs import ENCODER, ENCODER_DECODER, kind_of
from fairseq_lite.measure.inputs import LANGUAGE_MODEL as A_LANGUAGE_MODEL
from fairseq_lite.measure.mult_adds import count_mult_adds

KINDS = {ENCODER_DECODER: TRANSLATION, A_LANGUAGE_MODEL: LANGUAGE_MODEL, ENCODER: CLASSIFICATION}
BITS = (32, 8, 4)
DEFAULT_BEAM = 5
COUNTED_TOKENS = 30


def add_arguments(parser) -> None:
    parser.add_argument("checkpoint", metavar="CHECKPOINT", help="of fairseq's or of this plugin's, compressed or not")
    parser.add_argument("output", metavar="OUT", help="folder to make")
    parser.add_argument("--bits", type=int, default=32, choices=BITS, help="bits a weight (default: %(default)s)")
    parser.add_argument("--beam", type=int, metavar="N", help=f"default beam of the folder (default: {DEFAULT_BEAM})")
    parser.add_argument("--portable", action="store_true", help="use standard operators of ONNX alone")
    parser.add_argument("--step", action="store_true", help="add the encoder and one step, to sample, stream and score")
    parser.add_argument(
        "--spm",
        action="append",
        default=[],
        metavar="MODEL",
        help="sentencepiece model to copy; give it twice where source and target have their own",
    )
    parser.add_argument("--dict-src", metavar="FILE", help="source dictionary (default: of the checkpoint's data)")
    parser.add_argument("--dict-tgt", metavar="FILE", help="target dictionary (default: of the checkpoint's data)")
    parser.add_argument("--data", metavar="FOLDER", help="data of fairseq-preprocess (default: the checkpoint's)")


def run(args) -> None:
    check_folder(args.output)
    checkpoint = read_checkpoint(args.checkpoint)
    require_finite(checkpoint["model"], args.checkpoint)
    model = model_of(checkpoint, args.checkpoint)
    kind = KINDS[kind_of(model)]
    _check_options(args, kind)
    vocabulary = _vocabulary(args, kind, checkpoint, model)
    config = _config(args, kind, checkpoint, model, vocabulary)
    subwords = _subwords(args, config, vocabulary)
    graphs = _graphs(args, config, model)
    size = write_folder(args.output, config, vocabulary, graphs, subwords)
    print(f"exported {args.checkpoint} into {args.output}: {kind}, {args.bits} bits, {size:,} bytes")


def _check_options(args, kind: str) -> None:
    """Refuse options that could not take effect."""
    if args.beam is not None and args.beam < 1:
        raise UserError(f"--beam {args.beam}: must be at least 1")
    if kind != CLASSIFICATION:
        return
    for flag, given in {"--beam": args.beam, "--step": args.step}.items():
        if given:
            raise UserError(f"{flag}: a classifier has none; leave it out")


def _vocabulary(args, kind, checkpoint, model):
    """The pieces of each side and a classifier's labels."""
    task = checkpoint["cfg"]["task"]
    classes = _classes(args.checkpoint, task, model) if kind == CLASSIFICATION else 0
    given = {"source": args.dict_src, "target": args.dict_tgt}
    vocabulary = read_vocabulary(kind, task, _rows(model, kind), given, args.data)
    if kind == CLASSIFICATION:
        vocabulary["labels"] = read_labels(task, classes, args.data)
    return vocabulary


def _rows(model, kind):
    """Entries that the model has on each side."""
    if kind == CLASSIFICATION:
        return {"source": model.encoder.sentence_encoder.embed_tokens.num_embeddings}
    parts = {"source": model.encoder, "target": model.decoder} if kind == TRANSLATION else {"target": model.decoder}
    without = [side for side, part in parts.items() if getattr(part, "dictionary", None) is None]
    if without:
        raise UserError(f"{type(model).__name__}: has no {without[0]} dictionary; models of text are exported")
    return {side: len(part.dictionary) for side, part in parts.items()}


def _classes(path, task, model) -> int:
    heads = list(getattr(model, "classification_heads", ()))
    if len(heads) != 1:
        raise UserError(f"{path}: has {len(heads)} classification heads; an encoder with one is exported")
    if getattr(task, "regression_target", False):
        raise UserError(f"{path}: its head predicts a number (--regression-target); a head for classes is exported")
    return model.classification_heads[heads[0]].out_proj.out_features


def _config(args, kind, checkpoint, model, vocabulary) -> Config:
    task, limits = checkpoint["cfg"]["task"], model.max_positions()
    source, target = limits if kind == TRANSLATION else (None, limits) if kind == LANGUAGE_MODEL else (limits, None)
    bos = {LANGUAGE_MODEL: getattr(task, "add_bos_token", False), CLASSIFICATION: _starts_with_bos(task)}
    wordpiece = kind == CLASSIFICATION and looks_like_wordpiece(vocabulary["source"])
    return Config(
        kind=kind,
        architecture=architecture_of(checkpoint["cfg"]["model"]),
        bits=args.bits,
        portable=args.portable,
        add_bos=bool(bos.get(kind)),
        max_source=source,
        max_target=target,
        subwords=WORDPIECE if wordpiece else SENTENCEPIECE if args.spm else None,
        lower_case=wordpiece and is_lower_case(vocabulary["source"]),
        mult_adds=_mult_adds(model, source, target),
        options={} if kind == CLASSIFICATION else {"beam": args.beam or DEFAULT_BEAM},
    )


def _mult_adds(model, *limits) -> Optional[int]:
    """Those of 30 tokens a side; None for a model with an operator that is not counted."""
    try:
        return count_mult_adds(model, *(min(COUNTED_TOKENS, limit or COUNTED_TOKENS) for limit in limits)).total
    except UserError:
        return None


def _starts_with_bos(task) -> bool:
    token = getattr(task, "init_token", None)
    if token not in (None, 0):
        raise UserError(
            f"--init-token {token}: the checkpoint's text starts with it; only 0, the entry <s>, is exported"
        )
    return token == 0


def _subwords(args, config, vocabulary):
    """The subword models to copy."""
    if args.spm and config.subwords == WORDPIECE:
        raise UserError(f"--spm {args.spm[0]}: the dictionary has the word pieces of a BERT; leave it out")
    texts = {side: pieces for side, pieces in vocabulary.items() if side != "labels"}
    files = subword_files(args.spm, texts)
    pieces = next(iter(texts.values()))
    if not files and config.subwords is None and looks_like_sentencepiece(pieces):
        print("note: the dictionary has sentencepiece's pieces; without --spm text must come split", file=sys.stderr)
    return files


def _graphs(args, config, model):
    """File name -> graph."""
    from fairseq_lite.export.graphs import write
    from fairseq_lite.export.steps import write_steps

    graphs = {"model.onnx": write(model, config)}
    if args.step:
        steps, config.states = write_steps(model, config)
        graphs.update(steps)
    return graphs
