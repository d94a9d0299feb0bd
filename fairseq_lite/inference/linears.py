"""Other linear layers for a model that only infers, on CPUs."""

from typing import Callable, NamedTuple

import torch
import torch.nn as nn

from fairseq_lite.errors import UserError
from fairseq_lite.inference.packed_linear import PackedLinear, can_pack
from fairseq_lite.modules import PrunedLinear, SplitPrunedLinear

INT8, PACKED = "--int8-inference", "--packed-inference"


def run_linears_in_int8(model: nn.Module) -> None:
    """Swap all linear layers of a model, in place, for torch's dynamic ones: int8 weights, inputs quantised on the fly.

    Embeddings, convolutions, norms and the attention between the projections stay in float32. Raises UserError where
    the model is not in float32 on a CPU.
    """
    try:
        from torch.ao.quantization import quantize_dynamic
    except ImportError:
        raise UserError(f"{INT8}: this torch has no torch.ao.quantization.quantize_dynamic; use another") from None
    _prepare(model, INT8)
    quantize_dynamic(model, {nn.Linear}, inplace=True)


def pack_linears(model: nn.Module) -> None:
    """Swap all linear layers of a model, in place, for packed ones, with the same results up to rounding.

    Raises UserError where the model is not in float32 on a CPU.
    """
    if not can_pack():
        raise UserError(f"{PACKED}: this torch has no oneDNN that packs weights; leave the option out")
    _prepare(model, PACKED)
    _swap(model, nn.Linear, PackedLinear)


def _prepare(model: nn.Module, option: str) -> None:
    """Make every product with a weight that of an nn.Linear which its module calls."""
    unfit = next((p for p in model.parameters() if p.device.type != "cpu" or p.dtype != torch.float), None)
    if unfit is not None:
        raise UserError(f"{option}: the model is in {unfit.dtype} on {unfit.device}; give --cpu and no --fp16")
    for module in model.modules():
        # fairseq hands its attention's weights to torch as tensors, which another layer has none of, unless told so.
        if hasattr(module, "skip_embed_dim_check"):
            module.skip_embed_dim_check = True
        if hasattr(module, "can_use_fastpath"):
            module.can_use_fastpath = False
    _swap(model, PrunedLinear, SplitPrunedLinear)


def _swap(model: nn.Module, old: type, new: Callable[[nn.Module], nn.Module]) -> None:
    """Put new(layer) in the place of each layer of exactly the type `old`; one with nothing left of it stays."""
    for parent in list(model.modules()):
        for name, child in parent.named_children():
            if type(child) is old and child.weight.numel() > 0:
                setattr(parent, name, new(child))


class Linears(NamedTuple):
    """What an option does to the linear layers of a model, and its help."""

    swap: Callable[[nn.Module], None]
    help: str


LINEARS = {
    INT8: Linears(run_linears_in_int8, "run linear layers in int8; on CPUs only"),
    PACKED: Linears(pack_linears, "lay out linear layers for fast products, with the same results; on CPUs only"),
}
