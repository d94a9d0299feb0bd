"""What of each linear layer a shrunk model keeps: the cuts that follow from neurons that are zero."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Callable, Dict, Optional

import torch
import torch.nn as nn
from fairseq.modules import MultiheadAttention
from torch import Tensor

from fairseq_lite.modules import LinearAttention, Widths
from fairseq_lite.modules.conv_branch import ConvBranch
from fairseq_lite.pruning.neurons import component_of
from fairseq_lite.pruning.units import zero_rows

# Fewer outputs and their scattering cost less than all outputs from this part of zeros on, in a layer of so many
# weights (docs/benchmarks.md, Inflation).
INFLATION_PAYS_FROM = 0.4
INFLATION_PAYS_FOR = 384 * 384


def inflation_pays(linear: nn.Module, zeros: float) -> bool:
    """Whether to leave out a part of a linear layer's outputs that are zeros, and to put zeros there after it."""
    return linear.weight.numel() >= INFLATION_PAYS_FOR and zeros >= INFLATION_PAYS_FROM


@dataclass
class Channels:
    """Channels of one side of a linear layer: those that are `kept`, and their `places` in the new `width`."""

    kept: Tensor
    places: Tensor
    width: int

    @property
    def have_gaps(self) -> bool:
        return len(self.kept) < self.width


def everything(width: int) -> Channels:
    return Channels(torch.arange(width), torch.arange(width), width)


def compact(kept: Tensor) -> Channels:
    """The channels of kept: [C], bool, side by side; the layer beyond has as many fewer."""
    indices = kept.nonzero().squeeze(1)
    return Channels(indices, torch.arange(len(indices)), len(indices))


def inflated(kept: Tensor) -> Channels:
    """The channels of kept: [C], bool, in their old places, with zeros between."""
    indices = kept.nonzero().squeeze(1)
    return Channels(indices, indices, len(kept))


def in_heads(kept: Tensor, head_width: int, linear: nn.Module) -> Channels:
    """The channels of kept: [H, d], bool, the outputs of `linear`, in heads of a new width.

    A head that has fewer is filled up with channels that are zero, or has a gap where that pays.
    """
    heads = len(kept)
    if inflation_pays(linear, 1 - int(kept.sum()) / (heads * head_width)):
        places = kept.cumsum(dim=1) - 1 + head_width * torch.arange(heads).unsqueeze(1)
        return Channels(kept.flatten().nonzero().squeeze(1), places[kept], heads * head_width)
    chosen = kept.int().argsort(dim=1, descending=True, stable=True)[:, :head_width].sort(dim=1).values
    indices = (chosen + kept.size(1) * torch.arange(heads).unsqueeze(1)).flatten()
    return Channels(indices, torch.arange(len(indices)), len(indices))


@dataclass
class Cut:
    """The inputs and outputs of a linear layer that stay."""

    inputs: Channels
    outputs: Channels

    def widths(self) -> Widths:
        return Widths(self.inputs.width, len(self.inputs.kept), self.outputs.width, len(self.outputs.kept))

    def state(self, weight: Tensor, bias: Optional[Tensor]) -> Dict[str, Tensor]:
        """The state of the pruned linear layer."""
        state = {"weight": weight[self.outputs.kept][:, self.inputs.kept].contiguous()}
        if bias is not None:
            state["bias"] = bias[self.outputs.kept]
        for name, channels in (("inputs", self.inputs), ("outputs", self.outputs)):
            if channels.have_gaps:
                state[name] = channels.places
        return state


@dataclass
class Cuts:
    """The cuts of a model, by the names of its linear layers."""

    model: nn.Module
    by_name: Dict[str, Cut] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.modules = dict(self.model.named_modules())

    def linear(self, name: str) -> nn.Module:
        return self.modules[name]

    def kept(self, *names: str) -> Tensor:
        """The neurons that are not zero in all of the layers: [C], bool."""
        zero = [zero_rows(self.linear(name).weight, self.linear(name).bias) for name in names]
        return ~torch.stack(zero).all(dim=0)

    def cut_inputs(self, name: str, channels: Channels) -> None:
        self._cut_of(name).inputs = channels

    def cut_outputs(self, name: str, channels: Channels) -> None:
        self._cut_of(name).outputs = channels

    def _cut_of(self, name: str) -> Cut:
        return self.by_name.setdefault(name, self._no_cut(name))

    def _no_cut(self, name: str) -> Cut:
        outputs, inputs = self.linear(name).weight.shape
        return Cut(everything(inputs), everything(outputs))

    def real(self) -> Dict[str, Cut]:
        """Those that remove something, under every name that the model has for a layer."""
        changed = [name for name, cut in self.by_name.items() if cut.widths() != self._no_cut(name).widths()]
        real = {self.linear(name): self.by_name[name] for name in changed}
        everywhere = self.model.named_modules(remove_duplicate=False)
        return {name: real[module] for name, module in everywhere if module in real}


def _is_zero_at_zero(activation: Callable[[Tensor], Tensor]) -> bool:
    return bool(activation(torch.zeros(1)) == 0)


def _cut_attention(cuts: Cuts, name: str, attention: nn.Module) -> None:
    """Pairs of q and k go with their products, neurons of v with the columns of the output projection."""
    if getattr(attention, "bias_v", None) is not None:
        return
    q, k, v, out = (f"{name}.{projection}" for projection in ("q_proj", "k_proj", "v_proj", "out_proj"))
    heads = attention.num_heads
    values = cuts.kept(v).view(heads, -1)
    # a feature map takes the channels of q and k as they are
    pairs = None if isinstance(attention, LinearAttention) else cuts.kept(q, k).view(heads, -1)
    if values.all() and (pairs is None or pairs.all()):
        return
    widths = [kept.sum(dim=1).max() for kept in (values, pairs) if kept is not None]
    head_width = max(1, int(max(widths)))
    if pairs is not None:
        # of q and k the same ones, whose rows so are pairs in a shrunk model too
        channels = in_heads(pairs, head_width, cuts.linear(q))
        cuts.cut_outputs(q, channels)
        cuts.cut_outputs(k, channels)
    channels = in_heads(values, head_width, cuts.linear(v))
    cuts.cut_outputs(v, channels)
    cuts.cut_inputs(out, channels)


def _cut_ffn(cuts: Cuts, name: str, layer: nn.Module) -> None:
    """Neurons of the first linear layer go with the columns of the second."""
    hidden = cuts.kept(f"{name}.fc1")
    normalised = getattr(layer, "ffn_layernorm", None) is not None
    if not (hidden.all() or normalised) and _is_zero_at_zero(layer.activation_fn):
        cuts.cut_outputs(f"{name}.fc1", compact(hidden))
        cuts.cut_inputs(f"{name}.fc2", compact(hidden))


def _cut_convolution(cuts: Cuts, name: str, conv: ConvBranch) -> None:
    """Channels of the convolution go with the columns of what follows it; its heads stay equally wide."""
    blocks = 2 if conv.glu else 1
    kept = cuts.kept(f"{name}.linear1").view(blocks, conv.num_heads, -1).any(dim=0)
    if kept.all():
        return
    channels = in_heads(kept, max(1, int(kept.sum(dim=1).max())), cuts.linear(f"{name}.linear2"))
    old = kept.numel()
    cuts.cut_outputs(
        f"{name}.linear1",
        Channels(
            torch.cat([channels.kept + block * old for block in range(blocks)]),
            torch.cat([channels.places + block * channels.width for block in range(blocks)]),
            blocks * channels.width,
        ),
    )
    cuts.cut_inputs(f"{name}.linear2", channels)
    if f"{name}.weight_linear" in cuts.modules:
        cuts.cut_inputs(f"{name}.weight_linear", channels)


def _cut_classification_head(cuts: Cuts, name: str, head: nn.Module) -> None:
    kept = cuts.kept(f"{name}.dense")
    if not kept.all() and _is_zero_at_zero(head.activation_fn):
        cuts.cut_outputs(f"{name}.dense", compact(kept))
        cuts.cut_inputs(f"{name}.out_proj", compact(kept))


def _cut_residual(cuts: Cuts, name: str) -> None:
    """Outputs that are added to the residual are computed without the zeros, which come back, where that pays."""
    kept = cuts.kept(name)
    if inflation_pays(cuts.linear(name), 1 - float(kept.float().mean())):
        cuts.cut_outputs(name, inflated(kept))


def find_cuts(model: nn.Module) -> Dict[str, Cut]:
    """The cuts of all linear layers, by name, that leave the model's output as it is."""
    cuts = Cuts(model)
    for name, module in cuts.modules.items():
        if isinstance(module, (MultiheadAttention, LinearAttention)):
            _cut_attention(cuts, name, module)
        elif isinstance(module, ConvBranch):
            _cut_convolution(cuts, name, module)
        elif hasattr(module, "fc1") and hasattr(module, "activation_fn"):
            _cut_ffn(cuts, name, module)
        elif component_of(f"{name}.dense") == "p":
            _cut_classification_head(cuts, name, module)
        if component_of(name) in ("ao", "o", "co"):
            _cut_residual(cuts, name)
    return cuts.real()
