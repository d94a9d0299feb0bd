"""Models built outside a training run, with made-up vocabularies where only their sizes matter."""

from __future__ import annotations

import argparse
from difflib import get_close_matches
from types import SimpleNamespace
from typing import Optional, Sequence

from fairseq import models, options
from fairseq.data import Dictionary
from fairseq.dataclass.utils import convert_namespace_to_omegaconf
from fairseq.models import BaseFairseqModel

from fairseq_lite.errors import UserError
from fairseq_lite.explain import one_line
from fairseq_lite.option_ranges import numbers

SMALL_VOCABULARY = 1000
# The task whose options fairseq-train parses beside those of a kind of model; the first kind that fits counts.
TASKS = {
    models.FairseqLanguageModel: "language_modeling",
    models.FairseqEncoderModel: "masked_lm",
    BaseFairseqModel: "translation",
}


def dictionary_of_size(size: int) -> Dictionary:
    """A dictionary of `size` entries, specials included."""
    dictionary = Dictionary()
    for i in range(size - len(dictionary)):
        dictionary.add_symbol(f"w{i}")
    return dictionary


def task_of_sizes(source: int, target: int) -> SimpleNamespace:
    """What build_model asks of a task: dictionaries of the given sizes."""
    source_dictionary = dictionary_of_size(source)
    # One object where the sizes agree: shared embeddings require equal dictionaries.
    target_dictionary = source_dictionary if source == target else dictionary_of_size(target)
    return SimpleNamespace(source_dictionary=source_dictionary, target_dictionary=target_dictionary)


def build_architecture(name: str, model_options: Sequence[str], vocab_size: Optional[int] = None) -> BaseFairseqModel:
    """The model that fairseq-train would build from --arch NAME and these options.

    Raises UserError for an unknown architecture or option and for options that do not fit together.
    """
    if name not in models.ARCH_MODEL_REGISTRY:
        alike = get_close_matches(name, models.ARCH_MODEL_REGISTRY, cutoff=0.4)
        raise UserError(f"--arch {name}: unknown architecture; close to it are {', '.join(alike) or 'none'}")
    try:
        args = _parse(name, model_options)
        size = _vocabulary_size(args, vocab_size)
        # What the options of a language model take over from one another, fairseq resolves here.
        return models.build_model(convert_namespace_to_omegaconf(args).model, task_of_sizes(size, size))
    except Exception as error:
        reason = one_line(error)
        if reason is None:
            raise
        raise UserError(reason) from error


def _parse(name: str, model_options: Sequence[str]) -> argparse.Namespace:
    task = next(task for base, task in TASKS.items() if issubclass(models.ARCH_MODEL_REGISTRY[name], base))
    parser = options.get_training_parser(task)

    def error(message: str):
        raise UserError(f"--arch {name}: {message.replace('argument ', '')}")

    parser.error = error
    no_data = "-"
    args, unknown = options.parse_args_and_arch(parser, [no_data, "--arch", name, *model_options], parse_known=True)
    if unknown:
        raise UserError(f"--arch {name}: this architecture has no option {' '.join(unknown)}")
    return args


def _vocabulary_size(args: argparse.Namespace, wanted: Optional[int]) -> int:
    """The wanted size, or a small one beyond the last cutoff of adaptive embeddings and softmax."""
    cutoffs = [0]
    for option in ("adaptive_input_cutoff", "adaptive_softmax_cutoff"):
        value = getattr(args, option, None)
        cutoffs += (numbers(value) if isinstance(value, str) else value) or []
    if wanted is None:
        return max(cutoffs) + SMALL_VOCABULARY
    smallest = max(cutoffs) + Dictionary().nspecial
    if wanted < smallest:
        raise UserError(f"--vocab-size {wanted}: this model needs at least {smallest}")
    return wanted
