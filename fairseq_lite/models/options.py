"""The options of the models, each declared once: its flag, default, type and help."""

import argparse
from dataclasses import Field, dataclass, field, fields, is_dataclass, make_dataclass
from typing import Any, Dict, Optional

from fairseq.dataclass import ChoiceEnum, FairseqDataclass
from fairseq.dataclass.utils import gen_parser_from_dataclass
from fairseq.models.transformer import TransformerConfig
from fairseq.models.transformer.transformer_config import (
    DecoderConfig,
    EncDecBaseConfig,
    QuantNoiseConfig,
)
from fairseq.models.transformer_lm import TransformerLanguageModelConfig
from omegaconf import II, OmegaConf

from fairseq_lite.modules import CONVOLUTIONS


@dataclass
class LSRAOptions(FairseqDataclass):
    """Long-short range attention of one side; the flags carry --encoder- or --decoder- in front."""

    conv_type: ChoiceEnum(list(CONVOLUTIONS)) = field(
        default="lightweight",
        metadata={"help": "convolution branch: a kernel learned (lightweight) or predicted at each position (dynamic)"},
    )
    kernel_sizes: str = field(
        default="3,7,15,31,31,31",
        metadata={"help": "taps of the convolution in each layer, comma separated, first layer first"},
    )
    attention_dim: Optional[int] = field(
        default=None, metadata={"help": "channels that go through attention (default: half of them)"}
    )
    self_attention_heads: Optional[int] = field(
        default=None, metadata={"help": "heads of the attention branch (default: the side's attention heads)"}
    )
    conv_heads: int = field(
        default=4, metadata={"help": "heads of the convolution branch; the channels of a head share a kernel"}
    )
    conv_glu: bool = field(
        default=False, metadata={"help": "gated linear unit before the convolution"}
    )


@dataclass
class LiteTransformerOptions(FairseqDataclass):
    """What both sides of a Lite Transformer share."""

    weight_softmax: bool = field(
        default=True, metadata={"help": "normalise the taps of a kernel with a softmax"}
    )
    weight_dropout: float = field(
        default=0.0, metadata={"help": "DropConnect probability of the kernels' taps"}
    )
    ffn_init_ratio: float = field(
        default=1.0,
        metadata={"help": "initialise the FFN Xavier-uniform as if fan out were this many times fan in"},
    )


def prefixed(cls, prefix: str) -> Dict[str, Field]:
    """The fields of an options dataclass under the names that they have on one side of a model."""
    return {f"{prefix}_{f.name}": f for f in fields(cls) if f.name != "_name"}


@dataclass
class _LanguageModelOptions(LiteTransformerOptions, TransformerLanguageModelConfig):
    decoder_input_dim: int = field(
        default=II("model.decoder_embed_dim"), metadata={"help": "decoder input dimension"}
    )
    decoder_output_dim: int = field(
        default=II("model.decoder_embed_dim"), metadata={"help": "decoder output dimension"}
    )
    decoder_ffn_embed_dim: int = field(
        default=II("model.decoder_embed_dim"), metadata={"help": "decoder embedding dimension for FFN"}
    )
    decoder_normalize_before: bool = field(
        default=True, metadata={"help": "apply layernorm before each decoder block"}
    )


LiteTransformerLanguageModelConfig = make_dataclass(
    "LiteTransformerLanguageModelConfig",
    [
        (name, f.type, field(default=f.default, metadata=f.metadata))
        for name, f in prefixed(LSRAOptions, "decoder").items()
    ],
    bases=(_LanguageModelOptions,),
)

# The parts of TransformerConfig whose flat names carry a prefix.
_SIDES = {"encoder": EncDecBaseConfig, "decoder": DecoderConfig, "quant_noise": QuantNoiseConfig}


def add_options(parser: argparse.ArgumentParser, config, prefix: str = "") -> None:
    """Add the flags of an options dataclass without defaults, which the architectures fill in.

    A boolean gets a negative form beside it (--encoder-conv-glu, --no-encoder-conv-glu), so that what an
    architecture switches on can be switched off.
    """
    for f in fields(config):
        if isinstance(f.default, bool) and not f.name.startswith("no_"):
            flag = "-".join(filter(None, (prefix, f.name))).replace("_", "-")
            both_forms = argparse.BooleanOptionalAction
            parser.add_argument(f"--{flag}", action=both_forms, default=argparse.SUPPRESS, help=f.metadata.get("help"))
    gen_parser_from_dataclass(parser, config, delete_default=True, with_prefix=f"--{prefix}" if prefix else "")


def add_encoder_decoder_options(parser: argparse.ArgumentParser) -> None:
    add_options(parser, TransformerConfig())
    add_options(parser, LiteTransformerOptions())
    for side in ("encoder", "decoder"):
        add_options(parser, LSRAOptions(), prefix=side)


def _plain_defaults(declared: Dict[str, Field]) -> Dict[str, Any]:
    """The defaults that are values; an interpolation is fairseq's to resolve."""
    return {
        name: f.default
        for name, f in declared.items()
        if not (is_dataclass(f.default) or isinstance(f.default, str) and f.default.startswith("${"))
    }


def encoder_decoder_defaults() -> Dict[str, Any]:
    """The default of every option of an encoder-decoder model, under its flat name."""
    defaults = _plain_defaults(
        {f.name: f for cls in (TransformerConfig, LiteTransformerOptions) for f in fields(cls) if f.name not in _SIDES}
    )
    for prefix, cls in _SIDES.items():
        defaults.update(_plain_defaults(prefixed(cls, prefix)))
    for side in ("encoder", "decoder"):
        defaults.update(_plain_defaults(prefixed(LSRAOptions, side)))
    defaults.pop("_name", None)
    return defaults


def language_model_defaults() -> Dict[str, Any]:
    """The default of every option of a language model that does not follow from another one."""
    return _plain_defaults({f.name: f for f in fields(LiteTransformerLanguageModelConfig) if f.name != "_name"})


def as_namespace(args) -> argparse.Namespace:
    """The model options as fairseq hands them over: a Namespace from the command line, a DictConfig from hydra."""
    if OmegaConf.is_config(args):
        return argparse.Namespace(**OmegaConf.to_container(args, resolve=True))
    return args
