"""What a model reads and computes when it is measured, by the kind of the model."""

from __future__ import annotations

from typing import Any, List, Optional, Tuple

import torch.nn as nn
from fairseq.models import FairseqEncoderDecoderModel, FairseqLanguageModel, FairseqMultiModel
from fairseq.models.masked_lm import MaskedLMModel
from fairseq.models.roberta import RobertaModel
from fairseq.modules import SinusoidalPositionalEmbedding
from torch import Tensor

from fairseq_lite.errors import ArgumentError, UserError
from fairseq_lite.measure.exported import ExportedModel
from fairseq_lite.measure.kinds import ENCODER, ENCODER_DECODER, LANGUAGE_MODEL

KINDS = {
    ENCODER_DECODER: FairseqEncoderDecoderModel,
    LANGUAGE_MODEL: FairseqLanguageModel,
    ENCODER: (RobertaModel, MaskedLMModel),
}
# Tokens of a sentence whose length is not given.
TOKENS = 30
LENGTHS = {
    ENCODER_DECODER: ("src_len", "tgt_len"),
    LANGUAGE_MODEL: ("tgt_len",),
    ENCODER: ("src_len",),
}


def measured_part(model: nn.Module) -> nn.Module:
    """What of a model processes a sentence: of a multilingual one the model of its first language pair."""
    return next(iter(model.models.values())) if isinstance(model, FairseqMultiModel) else model


def kind_of(model: nn.Module) -> str:
    """A key of KINDS; raises UserError for a model of none."""
    if isinstance(model, ExportedModel):
        return model.kind
    for kind, base in KINDS.items():
        if isinstance(model, base):
            return kind
    raise UserError(f"{type(model).__name__}: is neither an encoder-decoder, a language model nor a BERT")


def checked_lengths(model: nn.Module, src_len: Optional[int], tgt_len: Optional[int]) -> List[int]:
    """Those of the lengths that apply to this kind of model; None is 30 tokens, or as many as it takes.

    Raises ArgumentError for a length that the model does not take.
    """
    names = LENGTHS[kind_of(model)]
    given = {"src_len": src_len, "tgt_len": tgt_len}
    longest = model.max_positions()
    limits = longest if isinstance(longest, tuple) else [longest]
    for name, limit in zip(names, limits):
        if given[name] is None:
            given[name] = min(TOKENS, limit)
        if not 1 <= given[name] <= limit:
            raise ArgumentError(name, given[name], f"this model takes 1 to {limit} tokens")
    return [given[name] for name in names]


def allow_length(model: nn.Module, tgt_len: int) -> None:
    """Let a model with sinusoidal positions, or none, write `tgt_len` tokens, whatever its options said.

    Learned positions end where they end: `checked_lengths` then refuses what is longer.
    """
    decoder = getattr(model, "decoder", None)
    positions = getattr(decoder, "embed_positions", None)
    if decoder is not None and (positions is None or isinstance(positions, SinusoidalPositionalEmbedding)):
        decoder.max_target_positions = max(decoder.max_target_positions, tgt_len)


def run_once(model: nn.Module, *inputs: Tensor) -> Tuple[Any, ...]:
    """A forward pass over tokens: [B, T]; the first of what it returns is the output.

    An encoder's vocabulary projection is left out: RoBERTa's output is that of its first classification head, or the
    features if it has no head.
    """
    if isinstance(model, MaskedLMModel):
        layers, sentence = model.encoder.sentence_encoder(*inputs)
        return sentence, layers
    if kind_of(model) != ENCODER:
        return model(*inputs)
    head = next(iter(model.classification_heads), None)
    return model(*inputs, features_only=True, classification_head_name=head)
