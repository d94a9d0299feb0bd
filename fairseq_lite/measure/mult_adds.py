"""Mult-Adds of a model: the multiplications of its linear layers, convolutions and attention."""

from contextlib import contextmanager
from dataclasses import dataclass
from typing import Dict, List, Optional, Tuple

import torch
import torch.nn as nn
from fairseq.modules import AdaptiveInput, CharacterTokenEmbedder
from fvcore.nn import FlopCountAnalysis
from torch import Tensor

from fairseq_lite.errors import UserError
from fairseq_lite.measure.counted_convolutions import counted_convolutions
from fairseq_lite.measure.inputs import ENCODER, checked_lengths, kind_of, measured_part, run_once
from fairseq_lite.measure.operators import FREE, HANDLERS
from fairseq_lite.measure.parameters import count_parameters, count_parameters_without_embeddings

OUTPUT_PROJECTION = "decoder.output_projection"
EMBEDDINGS_THAT_MULTIPLY = (AdaptiveInput, CharacterTokenEmbedder)


@dataclass
class MultAdds:
    """What `count_mult_adds` counts.

    Args:
        total: the Mult-Adds of one forward pass
        by_module: those of each module, with what it contains, by its name
        parameters, parameters_without_embeddings: tied ones count once

    Examples:
        >>> from fairseq_lite import build_architecture, count_mult_adds
        >>> counted = count_mult_adds(build_architecture("transformer_tiny"))
        >>> counted.by_module["encoder.layers.0.fc1"]  # 30 tokens, 64 channels, 64 neurons
        122880
    """

    total: int
    by_module: Dict[str, int]
    parameters: int
    parameters_without_embeddings: int


class _ForwardPass(nn.Module):
    """Calls a model for its output alone: a tracer takes tensors only."""

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model

    def forward(self, *inputs):
        return run_once(self.model, *inputs)[0]


def count_mult_adds(model: nn.Module, src_len: Optional[int] = None, tgt_len: Optional[int] = None) -> MultAdds:
    """Counts one teacher-forced pass of a sentence pair, or `tgt_len` tokens in a language model.

    An encoder reads `src_len` tokens, RoBERTa's to its first classification head if it has one; of a multilingual
    model its first language pair counts, with the parameters of all. Embeddings (adaptive
    ones with their projections) and the projections to the vocabulary are left out; a depthwise convolution costs K
    per output element (Wu et al., 2020, arXiv 2004.11886).

    Args:
        model: of fairseq's or of this plugin's, which stays as it was
        src_len, tgt_len: tokens of the source and of the target; by default 30, or as many as the model takes

    Raises UserError for another kind of model, for lengths that it does not take, and for an operator without a rule.

    Examples:
        >>> from fairseq_lite import build_architecture, count_mult_adds
        >>> count_mult_adds(build_architecture("lite_transformer_tiny"), src_len=10, tgt_len=10).total
        958720
    """
    part = measured_part(model)
    inputs = _inputs(part, checked_lengths(part, src_len, tgt_len))
    _check_output_projection(part)
    with _evaluation(part), counted_convolutions():
        counts = count_by_module(_ForwardPass(part), inputs)
    for name, module in part.named_modules():
        if isinstance(module, EMBEDDINGS_THAT_MULTIPLY) or name == OUTPUT_PROJECTION:
            _leave_out(counts, name)
    total = counts.pop("")
    by_module = {name: count for name, count in counts.items() if count}
    return MultAdds(total, by_module, count_parameters(model), count_parameters_without_embeddings(model))


def _check_output_projection(model: nn.Module):
    """Raises UserError for a decoder of which the projection to the vocabulary is not known by name."""
    if kind_of(model) == ENCODER or getattr(model.decoder, "adaptive_softmax", None) is not None:
        return
    if not hasattr(model.decoder, "output_projection"):
        raise UserError(f"{type(model).__name__}: has no {OUTPUT_PROJECTION} to leave out")


def _inputs(model: nn.Module, lengths: List[int]) -> Tuple[Tensor, ...]:
    """One sentence, or one pair with the source's length between, without padding."""
    device = next(model.parameters()).device
    dictionary = (model.encoder if kind_of(model) == ENCODER else model.decoder).dictionary
    sentences = [torch.full((1, length), dictionary.eos(), device=device) for length in lengths]
    sentences[1:1] = [torch.tensor([length], device=device) for length in lengths[:-1]]
    return tuple(sentences)


@contextmanager
def _evaluation(model: nn.Module):
    """Evaluation mode without gradients; afterwards each module is in its own mode again."""
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module in training:
            module.training = True


def count_by_module(forward: nn.Module, inputs: Tuple[Tensor, ...]) -> Dict[str, int]:
    """Mult-Adds of one call of `forward`, by the name of each module in `forward.model`.

    Raises UserError for an operator without a rule.
    """
    analysis = FlopCountAnalysis(forward, inputs).clear_op_handles()
    analysis.set_op_handle(**HANDLERS, **dict.fromkeys(FREE))
    analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
    counts = analysis.by_module()
    unknown = sorted(analysis.unsupported_ops())
    if unknown:
        raise UserError(f"{', '.join(unknown)}: of unknown cost; add it to fairseq_lite/measure/operators.py")
    return {name[len("model.") :]: int(count) for name, count in counts.items() if name}


def _leave_out(counts: Dict[str, int], name: str):
    """Takes a module out of the counts of all that contain it, and drops its own."""
    count = counts[name]
    parts = name.split(".")
    for depth in range(len(parts)):
        counts[".".join(parts[:depth])] -= count
    for inner in [other for other in counts if other == name or other.startswith(name + ".")]:
        del counts[inner]
