"""Checkpoints of the Lite Transformer authors (fairseq 0.8, `transformer_multibranch_v2*`)."""

from __future__ import annotations

import argparse
from typing import Any, Dict, List, Optional

from fairseq.models.transformer_lm import TransformerLanguageModelConfig

from fairseq_lite.checkpoints import Checkpoint
from fairseq_lite.converters.published import PublishedOptions, State, checkpoint_of, read_published, renamed
from fairseq_lite.models.options import (
    LITE_TRANSFORMER_OPTIONS,
    TRANSFORMER_OPTIONS,
    LiteTransformerLanguageModelConfig,
    language_model_defaults,
)

# Names in the authors' state dict, and ours.
_KEYS = (
    (r"\.self_attn\.branches\.0\.", ".self_attn.attention."),
    (r"\.self_attn\.branches\.1\.", ".self_attn.conv."),
    (r"^decoder\.embed_out$", "decoder.output_projection.weight"),
)
# The authors leave branches out for attention alone: fairseq's Transformer.
_ARCHITECTURES = {
    ("translation", True): ("lite_transformer", LITE_TRANSFORMER_OPTIONS.defaults()),
    ("translation", False): ("transformer", TRANSFORMER_OPTIONS.defaults()),
    ("language model", True): (
        "lite_transformer_lm",
        language_model_defaults(LiteTransformerLanguageModelConfig, interpolated=True),
    ),
    ("language model", False): (
        "transformer_lm",
        language_model_defaults(TransformerLanguageModelConfig, interpolated=True),
    ),
}


def _branches(args: argparse.Namespace, side: str, problems: List[str]) -> Optional[List[List[str]]]:
    """The branches of one side, such as ["attn:1:80:4", "lightweight:default:80:4"], each split at its colons."""
    branches = getattr(args, f"{side}_branch_type", None)
    if branches is None:
        return None
    if not isinstance(branches, (list, tuple)):
        problems.append(f"{side}_branch_type {branches!r} is no list")
        return []
    split = [str(branch).split(":") for branch in branches]
    kinds = [branch[0] for branch in split]
    if len(kinds) != 2 or kinds[0] != "attn" or kinds[1] not in ("lightweight", "dynamic"):
        problems.append(f"{side} branches {kinds} instead of attention and one convolution")
        return []
    if not all(len(branch) == 4 and branch[2].isdigit() and branch[3].isdigit() for branch in split):
        problems.append(f"{side}_branch_type {branches!r}: not kind:kernel:channels:heads")
        return []
    return split


def _kernel_sizes(options: PublishedOptions, side: str, kernel: str) -> str:
    """One kernel size a layer: of the branch itself, or "default", of the list."""
    if kernel.isdigit():
        return ",".join([kernel] * options.get(f"{side}_layers", int, 0))
    if kernel != "default":
        options.problems.append(f"{side} kernel size {kernel!r} is no number")
    return ",".join(map(str, options.get(f"{side}_kernel_size_list", list, [])))


def _side_options(options: PublishedOptions, side: str, branches: List[List[str]]) -> Dict[str, Any]:
    """The options of one side that has an attention and a convolution branch."""
    (_, _, attention_dim, heads), (conv_type, kernel, conv_dim, conv_heads) = branches
    if int(attention_dim) + int(conv_dim) != options.get(f"{side}_embed_dim", int):
        options.problems.append(f"{side} branches of {attention_dim} + {conv_dim} channels do not add up to its width")
    ours = dict(
        conv_type=conv_type,
        kernel_sizes=_kernel_sizes(options, side, kernel),
        attention_dim=int(attention_dim),
        self_attention_heads=int(heads),
        conv_heads=int(conv_heads),
        # The authors' lightweight convolution has none, whatever the option says.
        conv_glu=conv_type == "dynamic" and options.get(f"{side}_glu", bool),
    )
    return {f"{side}_{name}": value for name, value in ours.items()}


def _our_options(args: argparse.Namespace, path: str) -> argparse.Namespace:
    """The authors' options under our names; raises UserError with all that has no counterpart."""
    options = PublishedOptions(args, path)
    kind, sides = (
        ("language model", ["decoder"]) if options.of_language_model else ("translation", ["encoder", "decoder"])
    )
    branches = {side: _branches(args, side, options.problems) for side in sides}
    branched = [side for side in sides if branches[side] is not None]
    ours = options.under_our_names(*_ARCHITECTURES[kind, bool(branched)])
    if branched and branched != sides:
        options.problems.append(f"branches in the {branched[0]} alone")
    if branched and not getattr(args, "conv_linear", True):
        options.problems.append("convolutions without linear layers (conv_linear False)")
    for side in sides:
        if not all(getattr(args, f"{side}_ffn_list", None) or [True]):
            options.problems.append(f"{side} layers without FFN")
        if branches[side]:
            vars(ours).update(_side_options(options, side, branches[side]))
    options.refuse()
    return ours


def _with_heads_apart(state: State) -> State:
    """Lightweight kernels trained on a GPU, [H, K], in the shape of those trained without, [H, 1, K]."""
    return {
        name: tensor.unsqueeze(1) if name.endswith(".self_attn.conv.weight") and tensor.dim() == 2 else tensor
        for name, tensor in state.items()
    }


def convert_lite_transformer(path: str) -> Checkpoint:
    """Turn a checkpoint of the authors' into one of `lite_transformer` or `lite_transformer_lm`.

    One without branches becomes fairseq's `transformer` or `transformer_lm`. Raises UserError that lists every option
    without a counterpart and every weight that is missing, left over or of another shape.
    """
    whose = "the authors' Lite Transformers are named *_multibranch_v2*"
    published = read_published(path, lambda args: "multibranch" in str(getattr(args, "arch", None)), whose)
    options = _our_options(published["args"], path)
    return checkpoint_of(options, _with_heads_apart(renamed(published["model"], _KEYS)), path)
