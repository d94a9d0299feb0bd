"""Inference with linear layers in int8, on CPUs."""

import argparse
import functools

import torch
import torch.nn as nn
from fairseq import options
from fairseq.models import BaseFairseqModel

from fairseq_lite.errors import UserError

OPTION = "--int8-inference"


def run_linears_in_int8(model: nn.Module) -> None:
    """Swap all linear layers of a model, in place, for torch's dynamic ones: int8 weights, inputs quantised on the fly.

    Embeddings, convolutions, norms and the attention between the projections stay in float32. Raises UserError where
    the model is not in float32 on a CPU.
    """
    try:
        from torch.ao.quantization import quantize_dynamic
    except ImportError:
        raise UserError(f"{OPTION}: this torch has no torch.ao.quantization.quantize_dynamic; use another") from None
    unfit = next((p for p in model.parameters() if p.device.type != "cpu" or p.dtype != torch.float), None)
    if unfit is not None:
        raise UserError(f"{OPTION}: the model is in {unfit.dtype} on {unfit.device}; give --cpu and no --fp16")
    for module in model.modules():
        # fairseq hands its attention's weights to torch as tensors, which an int8 layer has none of, unless told so.
        if hasattr(module, "skip_embed_dim_check"):
            module.skip_embed_dim_check = True
        if hasattr(module, "can_use_fastpath"):
            module.can_use_fastpath = False
    quantize_dynamic(model, {nn.Linear}, inplace=True)


class _RunInInt8(argparse.Action):
    """Where the option is given, every model that fairseq prepares for inference runs in int8."""

    def __call__(self, parser, namespace, values, option_string=None):
        setattr(namespace, self.dest, True)
        prepare = BaseFairseqModel.prepare_for_inference_
        if hasattr(prepare, "__wrapped__"):
            return  # fairseq parses the command line several times

        @functools.wraps(prepare)
        def prepare_in_int8(model, cfg):
            prepare(model, cfg)
            run_linears_in_int8(model)

        BaseFairseqModel.prepare_for_inference_ = prepare_in_int8


def offer_int8_inference() -> None:
    """Add the option to fairseq-generate, -interactive and -eval-lm, which imports plugins before it makes its parser.

    An option of the model or the task would be lost: fairseq takes both from the checkpoint.
    """
    for name in ("add_generation_args", "add_eval_lm_args"):
        setattr(options, name, _with_option(getattr(options, name)))


def _with_option(add_arguments):
    @functools.wraps(add_arguments)
    def add_all_arguments(parser, *args, **kwargs):
        parser.add_argument(
            OPTION, action=_RunInInt8, nargs=0, default=False, help="run linear layers in int8; on CPUs only"
        )
        return add_arguments(parser, *args, **kwargs)

    return add_all_arguments
