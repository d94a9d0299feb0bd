"""What attention costs a step of incremental decoding: its state, its Mult-Adds and the time, linear or softmax."""

from __future__ import annotations

import statistics
from types import SimpleNamespace
from typing import Callable, Dict, FrozenSet, List, NamedTuple, Optional, Sequence, Tuple

import torch
import torch.nn as nn
from torch import Tensor

from fairseq_lite.errors import ArgumentError
from fairseq_lite.measure.counted_convolutions import counted_convolutions
from fairseq_lite.measure.inputs import ENCODER_DECODER, allow_length, kind_of
from fairseq_lite.measure.mult_adds import count_by_module
from fairseq_lite.measure.timing import milliseconds_in_turns

ROUNDS, WARM_UP_ROUNDS = 40, 3
State = Dict[str, Dict[str, Optional[Tensor]]]


class StepCost(NamedTuple):
    """Of one step for one sentence: bytes that attention remembers, its Mult-Adds, milliseconds of the whole step."""

    state_bytes: int
    mult_adds: int
    milliseconds: float


class _Step(nn.Module):
    """One token more after a past that stays as it is."""

    def __init__(self, decoder: nn.Module, encoder_out, past: State):
        super().__init__()
        self.model = decoder
        self.encoder_out = encoder_out
        self.past = past

    def forward(self, tokens: Tensor) -> Tensor:
        past = {key: dict(buffer) for key, buffer in self.past.items()}
        return self.model(tokens, encoder_out=self.encoder_out, incremental_state=past)[0]


def check_positions(model: nn.Module, positions: int) -> None:
    """Raise ArgumentError for a number of positions that a model does not decode, or read where it has a source."""
    allow_length(model, positions)
    longest = model.max_positions()
    limit = min(longest) if isinstance(longest, tuple) else longest
    if not 1 <= positions <= limit:
        raise ArgumentError("positions", positions, f"this model takes 1 to {limit}")


class _Decoded:
    """A model with `positions` tokens of the source read and `positions - 1` of the target decoded."""

    def __init__(self, model: nn.Module, positions: int):
        check_positions(model, positions)
        model.eval().prepare_for_inference_(SimpleNamespace(generation=SimpleNamespace(beam=1)))
        self.model, self.decoder = model, model.decoder
        self.tokens = torch.full((1, positions), model.decoder.dictionary.eos())
        self.encoder_out = None
        if kind_of(model) == ENCODER_DECODER:
            self.encoder_out = model.encoder(self.tokens, torch.tensor([positions]))
        self.past: State = {}
        for length in range(1, positions):
            self.decoder(self.tokens[:, :length], encoder_out=self.encoder_out, incremental_state=self.past)
        self.present = {key: dict(buffer) for key, buffer in self.past.items()}
        self.decoder(self.tokens, encoder_out=self.encoder_out, incremental_state=self.present)

    def state_bytes(self, name: str) -> int:
        """Bytes of what one attention remembers after the step, without masks."""
        buffer = self.model.get_submodule(name)._get_input_buffer(self.present)
        remembered = [tensor for key, tensor in buffer.items() if tensor is not None and "mask" not in key]
        return sum(tensor.numel() * tensor.element_size() for tensor in remembered)

    def mult_adds(self) -> Dict[str, int]:
        """Mult-Adds of a step by module of the decoder."""
        with counted_convolutions():
            return count_by_module(_Step(self.decoder, self.encoder_out, self.past), (self.tokens,))


@torch.no_grad()
def step_costs(
    linear: nn.Module, softmax: nn.Module, chosen: Sequence[FrozenSet[str]], positions: int
) -> List[StepCost]:
    """The cost of decoding token number `positions` for each choice of linear attention, on the CPU.

    `linear` and `softmax` are one model with all and with none of its attention linear; both are changed. A choice
    holds the names of what is linear, among decoder attentions. An encoder-decoder reads `positions` tokens.
    """
    models = {True: _Decoded(linear, positions), False: _Decoded(softmax, positions)}
    names = [name for name in sorted(frozenset().union(*chosen)) if name.startswith("decoder.")]
    attention = {(name, kind): model.model.get_submodule(name) for kind, model in models.items() for name in names}
    by_module = {kind: model.mult_adds() for kind, model in models.items()}
    counts = {(name, kind): by_module[kind].get(name[len("decoder.") :], 0) for name, kind in attention}
    sizes = {(name, kind): models[kind].state_bytes(name) for name, kind in attention}
    runs = [_run(models, {name: attention[name, name in choice] for name in names}) for choice in chosen]
    times = milliseconds_in_turns(runs, range(WARM_UP_ROUNDS + ROUNDS))
    return [
        StepCost(
            sum(sizes[name, name in choice] for name in names),
            sum(counts[name, name in choice] for name in names),
            statistics.median(samples[WARM_UP_ROUNDS:]),
        )
        for choice, samples in zip(chosen, times)
    ]


def _run(models: Dict[bool, _Decoded], attention: Dict[str, nn.Module]) -> Callable[[], object]:
    """A step of one model with these attentions, whose pasts both models have."""
    base = models[True]
    step = _Step(base.decoder, base.encoder_out, {**models[False].past, **base.past})

    def run() -> Tuple:
        for name, module in attention.items():
            parent, _, leaf = name.rpartition(".")
            setattr(base.model.get_submodule(parent), leaf, module)
        return base.model.get_normalized_probs((step(base.tokens), None), log_probs=True)

    return run
