"""Named sizes, each what it changes of the defaults.

Sources: the Lite Transformer authors' recipes; for T2R, the sizes of fairseq's own Transformers and the feature
dimensions of the paper; for the Evolved Transformer the authors' code in tensor2tensor.
"""

from __future__ import annotations

import argparse
from functools import partial
from typing import Any, Callable, Dict, Tuple

from fairseq.models import ARCH_CONFIG_REGISTRY, register_model_architecture
from fairseq.models.transformer import base_architecture as transformer_base
from fairseq.models.transformer_lm import base_lm_architecture

# An architecture can only be registered after its model.
from fairseq_lite.models import (  # noqa: F401
    evolved_transformer,
    lite_transformer,
    lite_transformer_lm,
    t2r_transformer,
    t2r_transformer_lm,
)
from fairseq_lite.models.options import (
    LITE_TRANSFORMER_OPTIONS,
    T2R_OPTIONS,
    TRANSFORMER_OPTIONS,
    LiteTransformerLanguageModelConfig,
    T2RLanguageModelConfig,
    as_namespace,
    language_model_defaults,
)

Options = Dict[str, Any]


def _both(**options) -> Options:
    """The same options for the encoder and the decoder."""
    return {f"{side}_{name}": value for side in ("encoder", "decoder") for name, value in options.items()}


_IWSLT = dict(_both(attention_heads=4), dropout=0.2, weight_dropout=0.1, ffn_init_ratio=2.0)
_DYNAMIC = dict(
    _both(attention_heads=8, self_attention_heads=4, conv_type="dynamic", conv_glu=True), share_all_embeddings=True
)


def _dropout(dropout: float, attention_dropout: float) -> Options:
    return dict(dropout=dropout, attention_dropout=attention_dropout, weight_dropout=attention_dropout)


LITE_TRANSFORMERS: Dict[str, Options] = {
    "lite_transformer": {},
    "lite_transformer_tiny": dict(
        encoder_embed_dim=64, **_both(layers=2, attention_heads=2, conv_heads=2, kernel_sizes="3,7")
    ),
    "lite_transformer_iwslt_de_en": dict(encoder_embed_dim=160, **_IWSLT),
    "lite_transformer_iwslt_de_en_240": dict(encoder_embed_dim=240, **_IWSLT),
    "lite_transformer_iwslt_de_en_320": dict(encoder_embed_dim=320, **_IWSLT),
    "lite_transformer_wmt_en_de_90m": dict(encoder_embed_dim=200, **_DYNAMIC, **_dropout(0.04, 0.03)),
    "lite_transformer_wmt_en_de_360m": dict(encoder_embed_dim=408, **_DYNAMIC, **_dropout(0.08, 0.06)),
    "lite_transformer_wmt_en_de_527m": dict(encoder_embed_dim=496, **_DYNAMIC, **_dropout(0.1, 0.08)),
    "lite_transformer_wmt_en_fr_90m": dict(encoder_embed_dim=200, **_DYNAMIC, **_dropout(0.04, 0.03)),
    "lite_transformer_wmt_en_fr_360m": dict(encoder_embed_dim=408, **_DYNAMIC, **_dropout(0.08, 0.07)),
    "lite_transformer_wmt_en_fr_527m": dict(encoder_embed_dim=496, **_DYNAMIC, **_dropout(0.1, 0.08)),
    "lite_transformer_cnndm": dict(encoder_embed_dim=496, **_DYNAMIC, **_dropout(0.15, 0.1)),
}

# For exported folders: a step of decoding costs more in the calls of its operators than in their products, so that the
# decoder has one layer only. The FFN is twice as wide as the model.
_EDGE = dict(_both(attention_heads=4), decoder_layers=1, decoder_kernel_sizes="15", dropout=0.2)

EDGE_TRANSFORMERS: Dict[str, Options] = {
    "lite_transformer_edge": dict(encoder_embed_dim=160, **_EDGE),
    "lite_transformer_edge_128": dict(encoder_embed_dim=128, **_EDGE),
}

LITE_LANGUAGE_MODELS: Dict[str, Options] = {
    "lite_transformer_lm_tiny": dict(
        decoder_embed_dim=64,
        decoder_layers=2,
        decoder_attention_heads=2,
        decoder_conv_heads=2,
        decoder_kernel_sizes="3,7",
    ),
    "lite_transformer_lm_wiki103": dict(
        decoder_embed_dim=896,
        decoder_layers=12,
        decoder_attention_heads=4,
        decoder_conv_type="dynamic",
        decoder_conv_glu=True,
        decoder_kernel_sizes="15,15,31,31,31,31,63,63,63,63,63,63",
        dropout=0.21,
        attention_dropout=0.14,
        weight_dropout=0.14,
        activation_dropout=0.1,
        adaptive_input=True,
        adaptive_input_cutoff="20000,60000",
        adaptive_softmax_cutoff="20000,60000",
        adaptive_softmax_dropout=0.2,
        tie_adaptive_weights=True,
        tie_adaptive_proj=True,
        no_decoder_final_norm=True,
    ),
}

_TIED = dict(_both(attention_heads=4), share_all_embeddings=True)

# The flattened Transformer that Lite Transformer is compared with: FFN width = d, no convolution, with the
# Mult-Adds of the Lite Transformer of the same name.
FLAT_TRANSFORMERS: Dict[str, Options] = {
    "transformer_flat": {},
    "transformer_flat_iwslt_de_en": dict(encoder_embed_dim=132, **_both(attention_heads=4), dropout=0.2),
    "transformer_flat_iwslt_de_en_240": dict(encoder_embed_dim=200, **_both(attention_heads=4), dropout=0.2),
    "transformer_flat_iwslt_de_en_320": dict(encoder_embed_dim=264, **_both(attention_heads=4), dropout=0.2),
    "transformer_flat_wmt_en_de_90m": dict(encoder_embed_dim=172, **_TIED),
    "transformer_flat_wmt_en_de_360m": dict(encoder_embed_dim=348, **_TIED),
    "transformer_flat_wmt_en_de_527m": dict(encoder_embed_dim=424, **_TIED),
}

# A cell is about as deep as two layers of a Transformer; the decoder has one cell more than half of six.
_EVOLVED = dict(
    _both(normalize_before=True), encoder_layers=3, decoder_layers=4, attention_dropout=0.1, activation_dropout=0.1
)

EVOLVED_TRANSFORMERS: Dict[str, Options] = {
    "evolved_transformer": dict(encoder_embed_dim=512, share_all_embeddings=True),
    "evolved_transformer_mobile": dict(encoder_embed_dim=128, share_all_embeddings=True),
    "evolved_transformer_tiny": dict(encoder_embed_dim=32, **_both(layers=1, attention_heads=2)),
}

_T2R = dict(feature_map="t2r", causal_feature_dim=4, cross_feature_dim=32)
# Keeps more of a softmax Transformer's quality, of which attention to the source matters most.
_EXP = dict(feature_map="exp", causal_feature_dim=64, cross_feature_dim=64, linear_attention="causal")

# Each with fairseq's architecture whose sizes it takes over.
T2R_TRANSFORMERS: Dict[str, Tuple[str, Options]] = {
    "t2r_transformer": ("transformer", _T2R),
    "t2r_transformer_tiny": ("transformer_tiny", _T2R),
    "t2r_transformer_iwslt_de_en": ("transformer_iwslt_de_en", _T2R),
    "t2r_transformer_wmt_en_de": ("transformer_wmt_en_de", _T2R),
    "t2r_transformer_wmt_en_de_big": ("transformer_wmt_en_de_big", _T2R),
    "t2r_transformer_exp": ("transformer", _EXP),
}

T2R_LANGUAGE_MODELS: Dict[str, Tuple[str, Options]] = {
    "t2r_transformer_lm_tiny": (
        "transformer_lm",
        dict(decoder_embed_dim=64, decoder_ffn_embed_dim=64, decoder_layers=2, decoder_attention_heads=2),
    ),
    "t2r_transformer_lm_wiki103": ("transformer_lm_wiki103", {}),
    "t2r_transformer_lm_exp": ("transformer_lm", dict(feature_map="exp", causal_feature_dim=64)),
}


def fill(args, defaults: Options) -> None:
    """Give every option that is not set, or None as an unset one is under hydra, its default."""
    for name, value in defaults.items():
        if getattr(args, name, None) is None:
            setattr(args, name, value)


def _fill_widths(args, ffn_ratio: int = 1) -> None:
    """Both sides as wide as the encoder, and an FFN of `ffn_ratio` times its side's width; 1 is flattened."""
    fill(args, {"encoder_embed_dim": 512})
    fill(args, {"decoder_embed_dim": args.encoder_embed_dim})
    fill(
        args,
        {f"{side}_ffn_embed_dim": ffn_ratio * getattr(args, f"{side}_embed_dim") for side in ("encoder", "decoder")},
    )
    fill(args, {f"decoder_{name}": args.decoder_embed_dim for name in ("input_dim", "output_dim")})


def _lite_transformer(args, delta: Options, ffn_ratio: int = 1) -> None:
    fill(args, delta)
    _fill_widths(args, ffn_ratio)
    fill(args, LITE_TRANSFORMER_OPTIONS.defaults())


def _evolved_transformer(args, delta: Options) -> None:
    fill(args, delta)
    _fill_widths(args, ffn_ratio=4)
    fill(args, _EVOLVED)
    fill(args, TRANSFORMER_OPTIONS.defaults())


def _lite_language_model(args, delta: Options) -> None:
    fill(args, delta)
    fill(args, language_model_defaults(LiteTransformerLanguageModelConfig))
    fill(args, {"decoder_ffn_embed_dim": args.decoder_embed_dim})
    base_lm_architecture(args)


def _like_stock(args, stock: str, delta: Options, defaults: Options) -> None:
    """fairseq's architecture `stock` with options of ours beside it."""
    fill(args, delta)
    given = argparse.Namespace(**{name: value for name, value in vars(as_namespace(args)).items() if value is not None})
    ARCH_CONFIG_REGISTRY[stock](given)
    fill(args, vars(given))
    fill(args, defaults)
    fill(args, {f"decoder_{name}": args.decoder_embed_dim for name in ("input_dim", "output_dim")})


def _flat_transformer(args, delta: Options) -> None:
    fill(args, delta)
    _fill_widths(args)
    transformer_base(args)


def _register(model: str, table: Dict[str, Options], complete: Callable) -> None:
    for name, delta in table.items():
        register_model_architecture(model, name)(partial(complete, delta=delta))


def _register_like_stock(model: str, table: Dict[str, Tuple[str, Options]], defaults: Options) -> None:
    for name, (stock, delta) in table.items():
        complete = partial(_like_stock, stock=stock, delta=delta, defaults=defaults)
        register_model_architecture(model, name)(complete)


_register("lite_transformer", LITE_TRANSFORMERS, _lite_transformer)
_register("lite_transformer", EDGE_TRANSFORMERS, partial(_lite_transformer, ffn_ratio=2))
_register("lite_transformer_lm", LITE_LANGUAGE_MODELS, _lite_language_model)
_register("evolved_transformer", EVOLVED_TRANSFORMERS, _evolved_transformer)
_register("transformer", FLAT_TRANSFORMERS, _flat_transformer)
_register_like_stock("t2r_transformer", T2R_TRANSFORMERS, T2R_OPTIONS.defaults())
_register_like_stock("t2r_transformer_lm", T2R_LANGUAGE_MODELS, language_model_defaults(T2RLanguageModelConfig))
