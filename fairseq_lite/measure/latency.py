"""Latency of models on the CPU: milliseconds per sentence, all models measured in turns."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Callable, Dict, Iterable, List, Sequence, Union

import numpy as np
import torch
import torch.nn as nn
from fairseq.data import Dictionary
from fairseq.sequence_generator import SequenceGenerator
from torch import Tensor

from fairseq_lite.measure.exported import ExportedModel
from fairseq_lite.measure.inputs import (
    ENCODER,
    LANGUAGE_MODEL,
    checked_lengths,
    kind_of,
    measured_part,
    run_once,
)
from fairseq_lite.measure.timing import milliseconds_in_turns

WARM_UP_ROUNDS = 2
SEED = 1


@dataclass
class Latency:
    """Milliseconds per sentence of a model.

    Args:
        median, p90: median and 90th percentile over the rounds

    Examples:
        >>> from fairseq_lite.measure import Latency
        >>> Latency(median=2.0, p90=2.5).median
        2.0
    """

    median: float
    p90: float


def measure_latency(
    models: Sequence[Union[nn.Module, ExportedModel]],
    batch_sizes: Sequence[int] = (1,),
    src_len: int = 30,
    tgt_len: int = 30,
    beam: int = 1,
    rounds: int = 20,
    track: Callable[[Sequence[int]], Iterable[int]] = iter,
) -> Dict[int, List[Latency]]:
    """The latency of each model on the CPU, in their order, by batch size.

    In every round each model processes one batch of each size (see `batch_run`); the first rounds warm up and do not
    count. The models are prepared for inference as fairseq-generate does it, and cannot be trained afterwards.

    Args:
        models: of fairseq's or of this plugin's, or exported ones
        batch_sizes: sentences in a batch
        src_len, tgt_len: tokens of the source and of the target
        beam: of generation
        rounds: times that each is measured
        track: wraps the rounds, to show their progress

    Raises UserError for another kind of model and for lengths that a model does not take.

    Examples:
        >>> from fairseq_lite import build_architecture, measure_latency
        >>> models = [build_architecture("transformer_tiny"), build_architecture("lite_transformer_tiny")]
        >>> slow, fast = measure_latency(models, [1], src_len=3, tgt_len=3, rounds=2)[1]
        >>> slow.median > 0
        True
    """
    pairs = [(size, model) for size in batch_sizes for model in models]
    runs = [_run_of(model, size, src_len, tgt_len, beam) for size, model in pairs]
    with torch.no_grad():
        times = milliseconds_in_turns(runs, track(range(WARM_UP_ROUNDS + rounds)))
    latencies: Dict[int, List[Latency]] = {size: [] for size in batch_sizes}
    for (size, _), samples in zip(pairs, times):
        latencies[size].append(_summary([sample / size for sample in samples[WARM_UP_ROUNDS:]]))
    return latencies


def _summary(samples: Sequence[float]) -> Latency:
    return Latency(statistics.median(samples), float(np.percentile(samples, 90)))


def _run_of(model: Union[nn.Module, ExportedModel], *work: int) -> Callable[[], object]:
    return model.batch_run(*work) if isinstance(model, ExportedModel) else batch_run(model, *work)


def batch_run(model: nn.Module, batch_size: int, src_len: int, tgt_len: int, beam: int = 1) -> Callable[[], object]:
    """What is timed, without arguments: one batch through the model.

    An encoder makes one forward pass over `src_len` made-up tokens a sentence, to its first classification head if it
    has one. The others generate exactly `tgt_len` tokens a sentence, its end included, by fairseq's SequenceGenerator;
    an encoder-decoder reads `src_len` made-up tokens first.
    """
    model = measured_part(model)
    checked_lengths(model, src_len, tgt_len)
    model.eval()
    if kind_of(model) == ENCODER:
        tokens = _made_up_tokens(model.encoder.dictionary, batch_size, src_len)
        return lambda: run_once(model, tokens)
    model.prepare_for_inference_(SimpleNamespace(generation=SimpleNamespace(beam=beam)))
    # The end of the sentence comes one step after the longest that the generator may grow.
    steps = tgt_len - 1
    generator = SequenceGenerator(
        [model], model.decoder.dictionary, beam_size=beam, max_len_a=0, max_len_b=steps, min_len=steps
    )
    sample = {"net_input": _generator_input(model, batch_size, src_len)}
    return lambda: generator.generate([], sample)


def _generator_input(model: nn.Module, batch_size: int, src_len: int) -> Dict[str, Tensor]:
    if kind_of(model) == LANGUAGE_MODEL:
        # From these the generator takes the number of sentences alone.
        return {"src_tokens": _made_up_tokens(model.decoder.dictionary, batch_size, 1)}
    tokens = _made_up_tokens(model.encoder.dictionary, batch_size, src_len)
    return {"src_tokens": tokens, "src_lengths": torch.full((batch_size,), src_len)}


def _made_up_tokens(dictionary: Dictionary, batch_size: int, length: int) -> Tensor:
    """Words of the dictionary, the same at each call: [B, T]."""
    generator = torch.Generator().manual_seed(SEED)
    return torch.randint(dictionary.nspecial, len(dictionary), (batch_size, length), generator=generator)
