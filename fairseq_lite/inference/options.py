"""The options that fairseq-generate, -interactive and -eval-lm have of this package."""

import argparse
import functools

from fairseq import options
from fairseq.models import BaseFairseqModel

from fairseq_lite.inference.linears import LINEARS


class _SwapLinears(argparse.Action):
    """Where the option is given, every model that fairseq prepares for inference gets other linear layers."""

    def __call__(self, parser, namespace, values, option_string=None):
        setattr(namespace, self.dest, True)
        prepare = BaseFairseqModel.prepare_for_inference_
        if hasattr(prepare, "__wrapped__"):
            return  # fairseq parses the command line several times

        @functools.wraps(prepare)
        def prepare_and_swap(model, cfg):
            prepare(model, cfg)
            LINEARS[option_string].swap(model)

        BaseFairseqModel.prepare_for_inference_ = prepare_and_swap


def _with_options(add_arguments):
    @functools.wraps(add_arguments)
    def add_all_arguments(parser, *args, **kwargs):
        either = parser.add_mutually_exclusive_group()
        for option, linears in LINEARS.items():
            either.add_argument(option, action=_SwapLinears, nargs=0, default=False, help=linears.help)
        return add_arguments(parser, *args, **kwargs)

    return add_all_arguments


def offer_inference_options() -> None:
    """Add the options to the commands, which import plugins before they make their parsers.

    An option of the model or the task would be lost: fairseq takes both from the checkpoint.
    """
    for name in ("add_generation_args", "add_eval_lm_args"):
        setattr(options, name, _with_options(getattr(options, name)))
