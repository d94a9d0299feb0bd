"""Options that fairseq evaluates as Python when a model is built: in a checkpoint they may hold literals only."""

from __future__ import annotations

import argparse
import ast
from typing import Any, Dict, Iterator, Tuple

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from fairseq_lite.errors import UserError

_NUMBERS = frozenset(
    "adaptive_input_cutoff adaptive_softmax_cutoff encoder_kernel_size_list decoder_kernel_size_list"
    " pipeline_balance pipeline_devices pipeline_encoder_balance pipeline_encoder_devices"
    " pipeline_decoder_balance pipeline_decoder_devices".split()
)
_LITERALS = frozenset(
    "adafactor_eps adam_betas adamax_betas character_filters conv_aggregator_layers conv_dec_config conv_enc_config"
    " conv_feature_layers decoder_attention decoder_layers decoder_zero_init downsample encoder_attention"
    " encoder_layers feature_encoder_spec gated_attention lamb_betas left_pad_source left_pad_target"
    " override_encoder_layers project_input self_attention transformer_context transformer_dec_config"
    " transformer_enc_config transformer_sampling vggblock_enc_config wer_args xformers_att_config".split()
)
EVALUATED = _NUMBERS | _LITERALS | {"pretrained"}
_NODES = (
    ast.Expression, ast.Constant, ast.List, ast.Tuple, ast.Dict, ast.Load,
    # fairseq writes layers as "[(512, 3)] * 20 + [(1024, 1)]"
    ast.BinOp, ast.Add, ast.Mult, ast.UnaryOp, ast.UAdd, ast.USub,
)  # fmt: skip
_MOST_REPETITIONS = 10_000


def require_literal_options(checkpoint: Dict[str, Any], path: str) -> None:
    """Raise UserError that names the option of a checkpoint whose text fairseq would run as a program."""
    for section in ("cfg", "args"):
        for name, text in _evaluated_texts(_plain(checkpoint.get(section))):
            numbers = name in _NUMBERS
            if not _is_literal(text, numbers):
                what = "a list of numbers" if numbers else "a literal"
                raise UserError(f"{path}: its option {name} is {text[:60]!r} and not {what}; it is not safe to load")


def _plain(options: Any) -> Any:
    """Options as dicts and namespaces, with references to other options resolved where they can be."""
    if not OmegaConf.is_config(options):
        return options
    try:
        return OmegaConf.to_container(options, resolve=True)
    except OmegaConfBaseException:
        return OmegaConf.to_container(options, resolve=False)


def _evaluated_texts(options: Any) -> Iterator[Tuple[str, str]]:
    """Name and value of every option, at any depth, that fairseq evaluates if it is a text."""
    if OmegaConf.is_config(options):
        options = _plain(options)
    if isinstance(options, argparse.Namespace):
        options = vars(options)
    if isinstance(options, (list, tuple)):
        options = dict(enumerate(options))
    if not isinstance(options, dict):
        return
    for name, value in options.items():
        if isinstance(value, str):
            # Other tasks call a path so.
            if name in EVALUATED and (name != "pretrained" or "pretrained_checkpoint" in options):
                yield name, value
        else:
            yield from _evaluated_texts(value)


def _is_literal(text: str, numbers: bool) -> bool:
    if not text:
        return True
    try:
        nodes = list(ast.walk(ast.parse(text.strip(), mode="eval")))
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        return False
    constants = [node.value for node in nodes if isinstance(node, ast.Constant)]
    if numbers and not all(type(constant) in (int, float) for constant in constants):
        return False
    return all(isinstance(node, _NODES) for node in nodes) and _repetitions(nodes) <= _MOST_REPETITIONS


def _repetitions(nodes) -> int:
    """The most that products can repeat anything: the product of all whole numbers that are added or multiplied."""
    product = 1
    for node in nodes:
        if isinstance(node, ast.BinOp):
            for side in (node.left, node.right):
                while isinstance(side, ast.UnaryOp):
                    side = side.operand
                if isinstance(side, ast.Constant) and isinstance(side.value, int):
                    product *= max(1, side.value)
    return product
