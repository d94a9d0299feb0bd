"""The options of the models, each declared once: its flag, default, type and help."""

import argparse
from dataclasses import Field, dataclass, field, fields, is_dataclass, make_dataclass
from typing import Any, Dict, Optional, Sequence

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

from fairseq_lite.modules import CONVOLUTIONS, FEATURE_MAPS

FeatureMapChoice = ChoiceEnum(list(FEATURE_MAPS))


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
    conv_glu: bool = field(default=False, metadata={"help": "gated linear unit before the convolution"})


@dataclass
class CausalAttentionOptions(FairseqDataclass):
    """Linear attention of a decoder to its past."""

    causal_feature_dim: int = field(
        default=32, metadata={"help": "features a head of linear attention to the past; elu has the head's channels"}
    )
    causal_gate: bool = field(
        default=False, metadata={"help": "let the state of linear attention to the past decay by a learned gate (RFA)"}
    )
    causal_window: Optional[int] = field(
        default=None,
        metadata={"help": "last positions that keep softmax weights beside the features exp of all older ones"},
    )
    softmax_layers: Optional[str] = field(
        default=None,
        metadata={"help": "decoder layers that keep softmax attention, from 0, comma separated (default: none)"},
    )
    softmax_sublayers: Optional[str] = field(
        default=None,
        metadata={
            "help": "attention that keeps softmax, comma separated: a position (causal, cross, encoder), that of one"
            " layer (cross.0), or a decoder layer by its number (default: none)"
        },
    )


@dataclass
class LinearAttentionOptions(CausalAttentionOptions):
    """Linear attention in an encoder-decoder model."""

    linear_attention: str = field(
        default="causal,cross",
        metadata={"help": "where attention is linear: causal, cross, encoder; comma separated"},
    )
    cross_feature_dim: int = field(
        default=32,
        metadata={"help": "features a head of linear attention to the source, in the decoder or the encoder"},
    )


@dataclass
class T2ROptions(LinearAttentionOptions):
    """What a swapped encoder-decoder Transformer adds to fairseq's."""

    feature_map: FeatureMapChoice = field(default="t2r", metadata={"help": "feature map of linear attention"})


@dataclass
class _OneWidth(TransformerLanguageModelConfig):
    """fairseq's options of a language model, whose input and output are as wide as its layers unless told otherwise."""

    decoder_input_dim: int = field(default=II("model.decoder_embed_dim"), metadata={"help": "decoder input dimension"})
    decoder_output_dim: int = field(
        default=II("model.decoder_embed_dim"), metadata={"help": "decoder output dimension"}
    )


@dataclass
class T2RLanguageModelConfig(CausalAttentionOptions, _OneWidth):
    """What a swapped Transformer language model adds to fairseq's."""

    feature_map: FeatureMapChoice = field(default="t2r", metadata={"help": "feature map of linear attention"})


@dataclass
class LiteTransformerOptions(FairseqDataclass):
    """What both sides of a Lite Transformer share."""

    weight_softmax: bool = field(default=True, metadata={"help": "normalise the taps of a kernel with a softmax"})
    weight_dropout: float = field(default=0.0, metadata={"help": "DropConnect probability of the kernels' taps"})
    ffn_init_ratio: float = field(
        default=1.0,
        metadata={"help": "initialise the FFN as if fan out were this many times fan in (1: Xavier-uniform)"},
    )
    decoder_feature_map: Optional[FeatureMapChoice] = field(
        default=None,
        metadata={"help": "feature map that makes the decoder's attention branch linear (default: softmax attention)"},
    )


@dataclass
class _EncoderDecoderOptions(LiteTransformerOptions, LinearAttentionOptions):
    linear_attention: str = field(
        default="causal", metadata={"help": "where the decoder's attention is linear: causal, cross; comma separated"}
    )


def prefixed(cls, prefix: str) -> Dict[str, Field]:
    """The fields of an options dataclass under the names that they have on one side of a model."""
    return {f"{prefix}_{f.name}": f for f in fields(cls) if f.name != "_name"}


@dataclass
class _LanguageModelOptions(LiteTransformerOptions, CausalAttentionOptions, _OneWidth):
    decoder_ffn_embed_dim: int = field(
        default=II("model.decoder_embed_dim"), metadata={"help": "decoder embedding dimension for FFN"}
    )
    decoder_normalize_before: bool = field(default=True, metadata={"help": "apply layernorm before each decoder block"})


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


def plain_defaults(declared: Dict[str, Field]) -> Dict[str, Any]:
    """The defaults that are values; an interpolation is fairseq's to resolve."""
    return {
        name: f.default
        for name, f in declared.items()
        if name != "_name"
        and not (is_dataclass(f.default) or isinstance(f.default, str) and f.default.startswith("${"))
    }


class EncoderDecoderOptions:
    """fairseq's options of an encoder-decoder model with those of ours: `shared`, and `per_side` with a prefix each."""

    def __init__(self, shared: type, per_side: Sequence[type] = ()):
        self.shared = (TransformerConfig, shared)
        self.per_side = per_side

    def add_to(self, parser: argparse.ArgumentParser) -> None:
        for cls in self.shared:
            add_options(parser, cls())
        for side in ("encoder", "decoder"):
            for cls in self.per_side:
                add_options(parser, cls(), prefix=side)

    def defaults(self) -> Dict[str, Any]:
        """The default of every option under its flat name."""
        declared = {f.name: f for cls in self.shared for f in fields(cls) if f.name not in _SIDES}
        for prefix, cls in _SIDES.items():
            declared.update(prefixed(cls, prefix))
        for side in ("encoder", "decoder"):
            for cls in self.per_side:
                declared.update(prefixed(cls, side))
        return plain_defaults(declared)


LITE_TRANSFORMER_OPTIONS = EncoderDecoderOptions(_EncoderDecoderOptions, per_side=[LSRAOptions])
T2R_OPTIONS = EncoderDecoderOptions(T2ROptions)
# fairseq's own Transformer, which adds nothing.
TRANSFORMER_OPTIONS = EncoderDecoderOptions(FairseqDataclass)


def language_model_defaults(config: type, interpolated: bool = False) -> Dict[str, Any]:
    """The default of every option of a language model that does not follow from another one.

    With `interpolated` those that do are there too, as None.
    """
    declared = {f.name: f for f in fields(config)}
    following = dict.fromkeys(name for name in declared if name != "_name") if interpolated else {}
    return {**following, **plain_defaults(declared)}


def as_namespace(args) -> argparse.Namespace:
    """The model options as fairseq hands them over: a Namespace from the command line, a DictConfig from hydra."""
    if OmegaConf.is_config(args):
        return argparse.Namespace(**OmegaConf.to_container(args, resolve=True))
    return args
