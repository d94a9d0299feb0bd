"""Models built outside a training run, with made-up vocabularies where only their sizes matter."""

from __future__ import annotations

import argparse
from difflib import get_close_matches
from types import SimpleNamespace
from typing import Dict, Optional, Sequence, Union

from fairseq import models, options
from fairseq.data import Dictionary
from fairseq.dataclass.utils import convert_namespace_to_omegaconf
from fairseq.models import BaseFairseqModel
from fairseq.models.lightconv import LightConvModel
from fairseq.models.lightconv_lm import LightConvLanguageModel
from fairseq.models.masked_lm import MaskedLMModel
from fairseq.models.multilingual_transformer import MultilingualTransformerModel
from fairseq.models.nat import FairseqNATModel
from fairseq.models.roberta import RobertaModel
from fairseq.models.transformer import TransformerModelBase
from fairseq.models.transformer_lm import TransformerLanguageModel
from fairseq.tasks.multilingual_translation import MultilingualTranslationTask

from fairseq_lite.errors import UserError
from fairseq_lite.explain import one_line
from fairseq_lite.option_ranges import numbers

SMALL_VOCABULARY = 1000
# more would fill the memory with a dictionary
LARGEST_VOCABULARY = 10_000_000
# The task whose options fairseq-train parses beside those of a kind of model; the first kind that fits counts.
TASKS = {
    models.FairseqLanguageModel: "language_modeling",
    models.FairseqEncoderModel: "masked_lm",
    BaseFairseqModel: "translation",
}


# Those of which it is known what building them asks of a task, and how they are called.
KNOWN_MODELS = (
    TransformerModelBase,
    TransformerLanguageModel,
    RobertaModel,
    MaskedLMModel,
    MultilingualTransformerModel,
    LightConvModel,
    LightConvLanguageModel,
)


def check_architecture(name: str) -> None:
    """Raise UserError for a registered architecture whose models cannot be built outside a training."""
    model = models.ARCH_MODEL_REGISTRY[name]
    # fairseq's non-autoregressive models are Transformers with another decoder.
    if not issubclass(model, KNOWN_MODELS) or issubclass(model, FairseqNATModel):
        raise UserError(f"architecture {name!r}: is not one that can be read; Transformers and lightconv can")


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
    return SimpleNamespace(
        dictionary=target_dictionary, source_dictionary=source_dictionary, target_dictionary=target_dictionary
    )


def task_of_language_pairs(pairs: Sequence[str], sizes: Dict[str, int]) -> MultilingualTranslationTask:
    """What a multilingual model asks of its task: pairs as in de-en, and a dictionary of a size for each language."""
    # By its class, which fairseq looks at; its constructor would read files.
    task = MultilingualTranslationTask.__new__(MultilingualTranslationTask)
    task.dicts = {language: dictionary_of_size(size) for language, size in sizes.items()}
    task.langs, task.lang_pairs, task.model_lang_pairs = list(sizes), list(pairs), list(pairs)
    return task


def build_architecture(
    name: str, model_options: Union[str, Sequence[str]] = (), vocab_size: Optional[int] = None
) -> BaseFairseqModel:
    """The model, with new weights, that fairseq-train would build from --arch NAME and these options.

    Args:
        name: architecture of fairseq's or of this plugin's
        model_options: of fairseq-train's command line, as "--encoder-layers 3" or in words
        vocab_size: entries of each dictionary; by default 1000, counted from the last adaptive cutoff if there is one

    Raises UserError for an unknown architecture or option and for options that do not fit together.

    Examples:
        >>> from fairseq_lite import build_architecture
        >>> model = build_architecture("lite_transformer_tiny", "--encoder-kernel-sizes 3,15", vocab_size=100)
        >>> model.encoder.layers[1].self_attn.conv
        LightweightConv(
          32, kernel_size=15, num_heads=2, centred, glu=False
          (linear1): Linear(in_features=32, out_features=32, bias=True)
          (linear2): Linear(in_features=32, out_features=32, bias=True)
          (weight_dropout_module): FairseqDropout()
        )
    """
    if name not in models.ARCH_MODEL_REGISTRY:
        alike = get_close_matches(name, models.ARCH_MODEL_REGISTRY, cutoff=0.4)
        raise UserError(f"--arch {name}: unknown architecture; close to it are {', '.join(alike) or 'none'}")
    try:
        check_architecture(name)
    except UserError as error:
        raise UserError(f"--arch {name}: {error}") from None
    try:
        words = model_options.split() if isinstance(model_options, str) else model_options
        args = _parse(name, words)
        size = _vocabulary_size(args, vocab_size)
        return models.build_model(_model_config(args), task_of_sizes(size, size))
    except Exception as error:
        reason = one_line(error)
        if reason is None:
            raise
        raise UserError(reason) from error


def _model_config(args: argparse.Namespace):
    """The model's options as fairseq-train hands them over.

    Those of a language model take over values from one another, which fairseq resolves by composing the configuration
    of a whole training. That takes half a second, and others are left as they were parsed.
    """
    if models.ARCH_MODEL_NAME_REGISTRY[args.arch] in models.MODEL_DATACLASS_REGISTRY:
        return convert_namespace_to_omegaconf(args).model
    return argparse.Namespace(**vars(args), _name=args.arch)


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
    if not smallest <= wanted <= LARGEST_VOCABULARY:
        raise UserError(f"--vocab-size {wanted}: must be {smallest} to {LARGEST_VOCABULARY} for this model")
    return wanted
