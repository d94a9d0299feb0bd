"""What a model reads and computes when it is measured, by the kind of the model."""

from __future__ import annotations

from typing import Any, Dict, List

import torch.nn as nn
from fairseq.models import FairseqEncoderDecoderModel, FairseqLanguageModel
from fairseq.models.roberta import RobertaModel

from fairseq_lite.errors import UserError

ENCODER_DECODER, LANGUAGE_MODEL, ENCODER = "encoder-decoder", "language model", "encoder"
KINDS = {
    ENCODER_DECODER: FairseqEncoderDecoderModel,
    LANGUAGE_MODEL: FairseqLanguageModel,
    ENCODER: RobertaModel,
}
LENGTH_OPTIONS = {
    ENCODER_DECODER: ("--src-len", "--tgt-len"),
    LANGUAGE_MODEL: ("--tgt-len",),
    ENCODER: ("--src-len",),
}


def kind_of(model: nn.Module) -> str:
    """A key of KINDS; raises UserError for a model of none."""
    for kind, base in KINDS.items():
        if isinstance(model, base):
            return kind
    raise UserError(f"{type(model).__name__}: is neither an encoder-decoder, a language model nor a RoBERTa encoder")


def checked_lengths(model: nn.Module, src_len: int, tgt_len: int) -> List[int]:
    """Those of the lengths that apply to this kind of model; raises UserError for one that the model does not take."""
    options = LENGTH_OPTIONS[kind_of(model)]
    given = {"--src-len": src_len, "--tgt-len": tgt_len}
    longest = model.max_positions()
    limits = longest if isinstance(longest, tuple) else [longest]
    for option, limit in zip(options, limits):
        if not 1 <= given[option] <= limit:
            raise UserError(f"{option} {given[option]}: this model takes 1 to {limit} tokens")
    return [given[option] for option in options]


def output_options(model: nn.Module) -> Dict[str, Any]:
    """Keyword arguments of a forward pass that leave out an encoder's vocabulary projection.

    Its output is then that of the first classification head, or the features if it has no head.
    """
    if kind_of(model) != ENCODER:
        return {}
    return {"features_only": True, "classification_head_name": next(iter(model.classification_heads), None)}
