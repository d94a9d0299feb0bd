"""BERT encoders (Devlin et al., 2019, https://arxiv.org/abs/1810.04805) as transformers saves them."""

from __future__ import annotations

import argparse
import json
import os
from typing import Any, Dict, List, Tuple

import torch
from fairseq.data import Dictionary

from fairseq_lite.checkpoints import Checkpoint, model_of, require_finite
from fairseq_lite.converters.layer_norm import embedding_scale, make_up_for_eps
from fairseq_lite.converters.published import State, checkpoint_of, refuse_options, renamed
from fairseq_lite.errors import UserError

# BERT's special tokens in the places that fairseq's dictionary has for them; its tasks append <mask>.
FIRST = ("[CLS]", "[PAD]", "[SEP]", "[UNK]")
LAST = "[MASK]"

# BERT's names of activations, and fairseq's.
_ACTIVATIONS = {"gelu": "gelu", "gelu_new": "gelu_accurate", "gelu_pytorch_tanh": "gelu_accurate", "relu": "relu"}
_REQUIRED = {"position_embedding_type": "absolute", "is_decoder": False, "add_cross_attention": False}

_SIZES = (
    "num_hidden_layers",
    "hidden_size",
    "intermediate_size",
    "num_attention_heads",
    "max_position_embeddings",
)
_DROPOUTS = {"hidden_dropout_prob": 0.1, "attention_probs_dropout_prob": 0.1}


def _is_size(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value < 10**6


def _is_rate(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value <= 1


_LAYER = r"^encoder\.layer\.(\d+)\."
# Names in BERT's state dict, and fairseq's.
_KEYS = (
    (r"\.gamma$", ".weight"),
    (r"\.beta$", ".bias"),
    (r"^bert\.", ""),
    (_LAYER + r"attention\.self\.(query|key|value)\.", r"layers.\1.self_attn.\2_proj."),
    (r"\.query_proj\.", ".q_proj."),
    (r"\.key_proj\.", ".k_proj."),
    (r"\.value_proj\.", ".v_proj."),
    (_LAYER + r"attention\.output\.dense\.", r"layers.\1.self_attn.out_proj."),
    (_LAYER + r"attention\.output\.LayerNorm\.", r"layers.\1.self_attn_layer_norm."),
    (_LAYER + r"intermediate\.dense\.", r"layers.\1.fc1."),
    (_LAYER + r"output\.dense\.", r"layers.\1.fc2."),
    (_LAYER + r"output\.LayerNorm\.", r"layers.\1.final_layer_norm."),
    (r"^embeddings\.LayerNorm\.", "layernorm_embedding."),
    (r"^embeddings\.word_embeddings\.", "embed_tokens."),
    (r"^embeddings\.position_embeddings\.", "embed_positions."),
    (r"^cls\.predictions\.transform\.LayerNorm\.", "lm_head.layer_norm."),
    (r"^cls\.predictions\.transform\.", "lm_head."),
    (r"^cls\.predictions\.(?:decoder\.)?", "lm_head."),
    (r"^(?=layers|embed_|layernorm_)", "sentence_encoder."),
    (r"^(?=sentence_encoder|lm_head)", "encoder."),
)
_TOKENS = "encoder.sentence_encoder.embed_tokens.weight"
_POSITIONS = "encoder.sentence_encoder.embed_positions.weight"
_TOKEN_TYPES = "embeddings.token_type_embeddings.weight"
_OUTPUT = "encoder.lm_head."

# What roberta has no place for: the pooler, the head for next sentences, and positions counted up.
_DROPPED = ("pooler.", "cls.seq_relationship.", "embeddings.position_ids")


def convert_bert(folder: str) -> Tuple[Checkpoint, Dictionary]:
    """Turn a folder of config.json, model.safetensors and vocab.txt into a checkpoint of `roberta` and its dictionary.

    Raises UserError for a file that is missing or of another kind, and for a model with parts that roberta lacks,
    all of which it lists.
    """
    paths = [os.path.join(folder, name) for name in ("config.json", "model.safetensors", "vocab.txt")]
    missing = [path for path in paths if not os.path.isfile(path)]
    if missing:
        raise UserError(f"{', '.join(missing)}: no such file; give the folder that transformers' save_pretrained wrote")
    config_path, weights_path, vocabulary_path = paths
    config = _read_config(config_path)
    dictionary, rows = _dictionary(vocabulary_path)
    state = renamed(_read_weights(weights_path), _KEYS)
    _check_sizes(state, len(rows), config, folder)
    require_finite(state, weights_path)
    state = _fairseq_weights(state, rows, config)
    checkpoint = checkpoint_of(_options(config), state, weights_path)
    model = model_of(checkpoint, weights_path)
    make_up_for_eps(model.encoder.sentence_encoder, config["layer_norm_eps"])
    checkpoint["model"] = model.state_dict()
    return checkpoint, dictionary


def _read_config(path: str) -> Dict[str, Any]:
    """BERT's options; raises UserError if they are another model's or ask for what roberta has not."""
    try:
        with open(path, encoding="utf-8") as file:
            config = json.load(file)
    except ValueError as error:
        raise UserError(f"{path}: not JSON ({error})") from None
    if not isinstance(config, dict) or config.get("model_type") != "bert":
        found = config.get("model_type") if isinstance(config, dict) else None
        raise UserError(f"{path}: model_type {found!r}; only 'bert' is converted")
    config = {"layer_norm_eps": 1e-12, "hidden_act": "gelu", **_DROPOUTS, **_REQUIRED, **config}
    problems = [
        f"{name} {config[name]!r} instead of {value!r}" for name, value in _REQUIRED.items() if config[name] != value
    ]
    problems += [
        f"{name} {config.get(name)!r} is no number above 0" for name in _SIZES if not _is_size(config.get(name))
    ]
    problems += [f"{name} {config[name]!r} is no rate from 0 to 1" for name in _DROPOUTS if not _is_rate(config[name])]
    if not _is_rate(config["layer_norm_eps"]) or config["layer_norm_eps"] == 0:
        problems.append(f"layer_norm_eps {config['layer_norm_eps']!r} is no number above 0")
    if config["hidden_act"] not in (*_ACTIVATIONS,):
        problems.append(f"hidden_act {config['hidden_act']!r} instead of one of {', '.join(_ACTIVATIONS)}")
    refuse_options(path, problems)
    return config


def _options(config: Dict[str, Any]) -> argparse.Namespace:
    """BERT's options under fairseq's names."""
    return argparse.Namespace(
        arch="roberta",
        task="masked_lm",
        criterion="masked_lm",
        encoder_layers=config["num_hidden_layers"],
        encoder_embed_dim=config["hidden_size"],
        encoder_ffn_embed_dim=config["intermediate_size"],
        encoder_attention_heads=config["num_attention_heads"],
        max_positions=config["max_position_embeddings"],
        activation_fn=_ACTIVATIONS[config["hidden_act"]],
        dropout=config["hidden_dropout_prob"],
        attention_dropout=config["attention_probs_dropout_prob"],
    )


def _dictionary(path: str) -> Tuple[Dictionary, List[int]]:
    """The vocabulary as fairseq's dictionary, and of each of its entries, <mask> included, the row that BERT has."""
    try:
        with open(path, encoding="utf-8") as file:
            vocabulary = [line.rstrip("\n") for line in file]
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not text in UTF-8 ({error}); give the vocabulary of a BERT") from None
    row = {word: i for i, word in enumerate(vocabulary)}
    missing = [word for word in (*FIRST, LAST) if word not in row]
    if missing:
        raise UserError(f"{path}: lacks {', '.join(missing)}; give the vocabulary of a BERT")
    words = [word for word in vocabulary if word not in (*FIRST, LAST)]
    dictionary = Dictionary()
    for word in words:
        dictionary.add_symbol(word)
    clashes = [word for word in row if word == "<mask>" or dictionary.count[dictionary.index(word)] > 1]
    if clashes:
        raise UserError(f"{path}: entries that stand twice or are fairseq's own symbols: {', '.join(clashes)}")
    return dictionary, [row[word] for word in (*FIRST, *words, LAST)]


def _read_weights(path: str) -> State:
    try:
        from safetensors import SafetensorError
        from safetensors.torch import load_file
    except ModuleNotFoundError:
        raise UserError(f"{path}: the package safetensors reads it; pip install 'fairseq-lite[bert]'") from None
    try:
        state = load_file(path)
    except SafetensorError as error:
        raise UserError(f"{path}: not a readable safetensors file ({error})") from None
    return {name: tensor.float() for name, tensor in state.items()}


def _check_sizes(state: State, entries: int, config: Dict[str, Any], folder: str) -> None:
    """Raise UserError unless all embeddings are there, with a row for each entry of the vocabulary."""
    missing = [name for name in (_TOKENS, _POSITIONS, _TOKEN_TYPES) if name not in state]
    if missing:
        raise UserError(f"{folder}: model.safetensors lacks the embeddings of a BERT: {', '.join(missing)}")
    width = config["hidden_size"]
    wrong = [n for n in (_TOKENS, _POSITIONS, _TOKEN_TYPES) if state[n].dim() != 2 or state[n].size(1) != width]
    wrong += [name for name in (_TOKENS, _POSITIONS, _TOKEN_TYPES) if state[name].numel() == 0]
    if wrong:
        raise UserError(f"{folder}: hidden_size {width}: not the width of {', '.join(sorted(set(wrong)))}")
    head = [_OUTPUT + name for name in ("dense.bias", "layer_norm.weight", "layer_norm.bias", "bias")]
    lacking = [name for name in head if _OUTPUT + "dense.weight" in state and name not in state]
    if lacking:
        raise UserError(f"{folder}: the head for masked words lacks {', '.join(lacking)}")
    rows = state[_TOKENS].size(0)
    if rows != entries:
        raise UserError(f"{folder}: vocab.txt has {entries} entries and model.safetensors embeds {rows}")


def _fairseq_weights(state: State, rows: List[int], config: Dict[str, Any]) -> State:
    """BERT's weights, under fairseq's names already, with the embeddings as fairseq has them."""
    state = {name: tensor for name, tensor in state.items() if not name.startswith(_DROPPED)}
    pad = FIRST.index("[PAD]")
    scale = embedding_scale(config["layer_norm_eps"])
    tokens = state[_TOKENS][rows] * scale
    tokens[pad] = 0
    # Sentences are of token type 0, which adds the same at every position; fairseq counts those from behind padding.
    positions = (state[_POSITIONS] + state.pop(_TOKEN_TYPES)[0]) * scale
    state[_TOKENS] = tokens
    state[_POSITIONS] = torch.cat([positions.new_zeros(pad + 1, positions.size(1)), positions])
    state["encoder.sentence_encoder.version"] = torch.tensor([3.0])
    if _OUTPUT + "dense.weight" in state:
        state[_OUTPUT + "bias"] = state[_OUTPUT + "bias"][rows]
    else:
        state.update(_new_output(config["hidden_size"], len(rows)))
    # The output shares the scaled embeddings.
    for name in ("weight", "bias"):
        state[f"{_OUTPUT}layer_norm.{name}"] = state[f"{_OUTPUT}layer_norm.{name}"] / scale
    state[_OUTPUT + "weight"] = tokens
    return state


def _new_output(width: int, entries: int) -> State:
    """roberta's head for masked words as it starts training, the same for every conversion."""
    dense = torch.empty(width, width).normal_(0, 0.02, generator=torch.Generator().manual_seed(1))
    return {
        _OUTPUT + "dense.weight": dense,
        _OUTPUT + "dense.bias": torch.zeros(width),
        _OUTPUT + "layer_norm.weight": torch.ones(width),
        _OUTPUT + "layer_norm.bias": torch.zeros(width),
        _OUTPUT + "bias": torch.zeros(entries),
    }
