"""A loaded model as writers of its parts."""

from __future__ import annotations

from typing import NamedTuple, Optional

import torch.nn as nn
from fairseq.models.roberta import RobertaModel
from fairseq.models.transformer_align import TransformerAlignModel

from fairseq_lite.errors import UserError
from fairseq_lite.export.blocks import FourBits
from fairseq_lite.export.classifier import ClassifierWriter
from fairseq_lite.export.decoder import DecoderWriter
from fairseq_lite.export.encoder import EncoderWriter
from fairseq_lite.export.integers import EightBits
from fairseq_lite.export.matrices import Float32
from fairseq_lite.export.weights import Weights


class Writers(NamedTuple):
    """Writers of a model that generates; a language model has no encoder."""

    encoder: Optional[EncoderWriter]
    decoder: DecoderWriter


def matrices_of(bits: int, portable: bool) -> Float32:
    """The way to store matrices in so many bits a weight; raises UserError for a number that there is none for."""
    ways = {32: Float32, 8: EightBits, 4: lambda: FourBits(portable)}
    if bits not in ways:
        raise UserError(f"bits {bits}: must be one of {', '.join(map(str, ways))}")
    return ways[bits]()


def _weights_of(model: nn.Module, bits: int, portable: bool) -> Weights:
    """The model's weights, after it is prepared for generation in place."""
    if model.training:
        raise ValueError("the model is in training mode; call eval() first")
    model.make_generation_fast_()
    return Weights(model, matrices_of(bits, portable), portable)


def writers_of(model: nn.Module, bits: int = 32, portable: bool = False) -> Writers:
    """The writers of a translator or a language model; raises UserError for a part that is not exported.

    Args:
        model: in evaluation mode, as `fairseq_lite.checkpoints.load_model` returns it; prepared for generation in place
        bits: bits a weight: 32, 8 or 4
        portable: whether to write standard operators of ONNX alone
    """
    encoder, decoder = getattr(model, "encoder", None), getattr(model, "decoder", None)
    if decoder is None or isinstance(model, TransformerAlignModel):
        raise UserError("models of this architecture cannot be exported")
    if getattr(decoder, "cross_self_attention", False):
        raise UserError("--cross-self-attention: cannot be exported")
    weights = _weights_of(model, bits, portable)
    writers = Writers(
        encoder=None if encoder is None else EncoderWriter(encoder, weights),
        decoder=DecoderWriter(decoder, weights),
    )
    if encoder is not None and not writers.decoder.crosses:
        raise UserError("--no-cross-attention: a decoder that does not look at the source cannot be exported")
    return writers


def classifier_of(model: nn.Module, bits: int = 32, portable: bool = False) -> ClassifierWriter:
    """The writer of an encoder with a classification head, as `writers_of`."""
    if not isinstance(model, RobertaModel):
        raise UserError("models of this architecture cannot be exported")
    return ClassifierWriter(model, _weights_of(model, bits, portable))
