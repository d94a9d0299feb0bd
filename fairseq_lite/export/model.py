"""A loaded model as writers of its parts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional

import torch.nn as nn

from fairseq_lite.errors import UserError
from fairseq_lite.export.decoder import DecoderWriter
from fairseq_lite.export.encoder import EncoderWriter
from fairseq_lite.export.matrices import Float32
from fairseq_lite.export.weights import Weights


@dataclass
class ModelWriters:
    """Writers of a model's encoder and decoder; None for what it has not."""

    encoder: Optional[EncoderWriter]
    decoder: Optional[DecoderWriter]


def writers_of(model: nn.Module) -> ModelWriters:
    """The writers of a model, which is prepared for generation in place; raises UserError if one part has none.

    Args:
        model: in evaluation mode, as `fairseq_lite.checkpoints.load_model` returns it
    """
    if model.training:
        raise UserError("model: is in training mode; call eval() first")
    model.make_generation_fast_()
    weights = Weights(model, Float32())
    encoder, decoder = getattr(model, "encoder", None), getattr(model, "decoder", None)
    return ModelWriters(
        encoder=None if encoder is None else EncoderWriter(encoder, weights),
        decoder=None if decoder is None else DecoderWriter(decoder, weights),
    )
