"""Encoders of BERT and RoBERTa as transformers saves them, with their heads.

Devlin et al., 2019, https://arxiv.org/abs/1810.04805; Liu et al., 2019, https://arxiv.org/abs/1907.11692.
"""

from __future__ import annotations

import argparse
import re
from typing import Any, Dict, List, NamedTuple, Tuple

import torch
from fairseq.data import Dictionary

from fairseq_lite.checkpoints import Checkpoint, model_of, require_finite
from fairseq_lite.converters.layer_norm import embedding_scale, make_up_for_eps
from fairseq_lite.converters.published import State, checkpoint_of, refuse_options, renamed
from fairseq_lite.converters.transformers_folder import file_of, read_json, read_vocabulary, read_weights
from fairseq_lite.errors import UserError


class Family(NamedTuple):
    """What tells the models of a `model_type` apart from those of the other."""

    vocabularies: Tuple[str, ...]
    # Special tokens in the places that fairseq's dictionary has for them; its tasks append <mask>.
    first: Tuple[str, str, str, str]
    last: str
    # Names of activations, and fairseq's.
    activations: Dict[str, str]
    # Options as they must be; one that is not given is right.
    required: Dict[str, Any]
    # Rows of the positions that stand before that of the first token.
    rows_of_padding: int
    usual_eps: float


_ACTIVATIONS = {"gelu": "gelu", "gelu_new": "gelu_accurate", "gelu_pytorch_tanh": "gelu_accurate", "relu": "relu"}
_REQUIRED = {"position_embedding_type": "absolute", "is_decoder": False, "add_cross_attention": False}
FAMILIES = {
    "bert": Family(
        vocabularies=("vocab.txt",),
        first=("[CLS]", "[PAD]", "[SEP]", "[UNK]"),
        last="[MASK]",
        activations=_ACTIVATIONS,
        required=_REQUIRED,
        rows_of_padding=0,
        usual_eps=1e-12,
    ),
    "roberta": Family(
        vocabularies=("vocab.json", "tokenizer.json"),
        first=("<s>", "<pad>", "</s>", "<unk>"),
        last="<mask>",
        # that of its head for masked words, whatever its layers have
        activations={"gelu": "gelu"},
        required={**_REQUIRED, "pad_token_id": 1},
        rows_of_padding=2,
        usual_eps=1e-5,
    ),
}
_PAD = 1

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


# The name that fairseq's task and criterion of sentences look for.
HEAD = "classification_heads.sentence_classification_head."
_LAYER = r"^encoder\.layer\.(\d+)\."
# Names in the state dicts of both, and fairseq's.
_KEYS = (
    (r"\.gamma$", ".weight"),
    (r"\.beta$", ".bias"),
    (r"^(?:bert|roberta)\.", ""),
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
    (r"^lm_head\.decoder\.", "lm_head."),
    (r"^classifier\.(?=dense|out_proj)", HEAD),
    (r"^classifier\.", HEAD + "out_proj."),
    (r"^(?=layers|embed_|layernorm_)", "sentence_encoder."),
    (r"^(?=sentence_encoder|lm_head)", "encoder."),
)
_TOKENS = "encoder.sentence_encoder.embed_tokens.weight"
_POSITIONS = "encoder.sentence_encoder.embed_positions.weight"
_TOKEN_TYPES = "embeddings.token_type_embeddings.weight"
_OUTPUT = "encoder.lm_head."

# What fairseq has no place for: a pooler without classes, the head for next sentences, and positions counted up.
_DROPPED = ("pooler.", "cls.seq_relationship.", "embeddings.position_ids")


def convert_bert(folder: str) -> Tuple[Checkpoint, Dict[str, Dictionary]]:
    """Turn a folder of a BERT or RoBERTa of transformers into a checkpoint of `roberta` and dictionaries by file.

    The folder has config.json, model.safetensors or pytorch_model.bin, and the vocabulary. A finetuned model has a
    dictionary of its classes too. Raises UserError for a file that is missing, damaged or of another kind, and for a
    model with parts that roberta lacks, all of which it lists.
    """
    config_path = file_of(folder, ["config.json"])
    config, family = _read_config(config_path)
    weights_path = file_of(folder, ["model.safetensors", "pytorch_model.bin"])
    vocabulary_path = file_of(folder, family.vocabularies)
    words, rows = _dictionary(vocabulary_path, family)
    state = renamed(read_weights(weights_path), _KEYS)
    _check_sizes(state, config, weights_path)
    _check_entries(state, len(rows), vocabulary_path, weights_path)
    require_finite(state, weights_path)
    state = _fairseq_weights(state, rows, config, family)
    dictionaries = {"dict.txt": words, **_classes(state, config, config_path)}
    checkpoint = checkpoint_of(_options(config, family), state, weights_path)
    model = model_of(checkpoint, weights_path)
    make_up_for_eps(model.encoder.sentence_encoder, config["layer_norm_eps"])
    checkpoint["model"] = model.state_dict()
    return checkpoint, dictionaries


def _read_config(path: str) -> Tuple[Dict[str, Any], Family]:
    """The model's options; raises UserError if they are another model's or ask for what roberta has not."""
    config = read_json(path)
    kind = config.get("model_type") if isinstance(config, dict) else None
    if kind not in list(FAMILIES):
        raise UserError(f"{path}: model_type {kind!r}; only {' and '.join(map(repr, FAMILIES))} are converted")
    family = FAMILIES[kind]
    config = {"layer_norm_eps": family.usual_eps, "hidden_act": "gelu", **_DROPOUTS, **family.required, **config}
    problems = [
        f"{name} {config[name]!r} instead of {value!r}"
        for name, value in family.required.items()
        if config[name] != value
    ]
    problems += [
        f"{name} {config.get(name)!r} is no number above 0" for name in _SIZES if not _is_size(config.get(name))
    ]
    problems += [f"{name} {config[name]!r} is no rate from 0 to 1" for name in _DROPOUTS if not _is_rate(config[name])]
    if not _is_rate(config["layer_norm_eps"]) or config["layer_norm_eps"] == 0:
        problems.append(f"layer_norm_eps {config['layer_norm_eps']!r} is no number above 0")
    if config["hidden_act"] not in list(family.activations):
        problems.append(f"hidden_act {config['hidden_act']!r} instead of one of {', '.join(family.activations)}")
    refuse_options(path, problems)
    return config, family


def _options(config: Dict[str, Any], family: Family) -> argparse.Namespace:
    """The options under fairseq's names."""
    return argparse.Namespace(
        arch="roberta",
        task="masked_lm",
        criterion="masked_lm",
        encoder_layers=config["num_hidden_layers"],
        encoder_embed_dim=config["hidden_size"],
        encoder_ffn_embed_dim=config["intermediate_size"],
        encoder_attention_heads=config["num_attention_heads"],
        max_positions=config["max_position_embeddings"] - family.rows_of_padding,
        activation_fn=family.activations[config["hidden_act"]],
        dropout=config["hidden_dropout_prob"],
        attention_dropout=config["attention_probs_dropout_prob"],
    )


def _dictionary(path: str, family: Family) -> Tuple[Dictionary, List[int]]:
    """The vocabulary as fairseq's dictionary, and of each of its entries, <mask> included, the row in the weights."""
    vocabulary = read_vocabulary(path)
    special = (*family.first, family.last)
    row = {word: i for i, word in enumerate(vocabulary)}
    missing = [word for word in special if word not in row]
    if missing:
        raise UserError(f"{path}: lacks {', '.join(missing)}; give the vocabulary of the model")
    words = [word for word in vocabulary if word not in special]
    dictionary = Dictionary()
    for word in words:
        dictionary.add_symbol(word)
    clashes = [word for word in words if word == "<mask>" or dictionary.count[dictionary.index(word)] > 1]
    if clashes:
        names = ", ".join(dict.fromkeys(clashes))
        raise UserError(f"{path}: entries that stand twice or are fairseq's own symbols: {names}")
    return dictionary, [row[word] for word in (*family.first, *words, family.last)]


def _classes(state: State, config: Dict[str, Any], path: str) -> Dict[str, Dictionary]:
    """The dictionary of a finetuned head's classes in its order, under the name of its file; none without a head."""
    if HEAD + "out_proj.weight" not in state:
        return {}
    count = len(state[HEAD + "out_proj.weight"])
    labels = config.get("id2label") or {str(i): f"LABEL_{i}" for i in range(count)}
    names = [labels.get(str(i)) for i in range(count)] if isinstance(labels, dict) and len(labels) == count else []
    if not names or not all(isinstance(name, str) for name in names):
        raise UserError(f"{path}: id2label does not name the {count} classes that the weights tell apart")
    dictionary = Dictionary()
    for name in names:
        # A class is one word to fairseq.
        dictionary.add_symbol(re.sub(r"\s+", "_", name))
    if len(dictionary) != dictionary.nspecial + count:
        raise UserError(f"{path}: id2label names a class twice, or as fairseq names a symbol: {', '.join(names)}")
    return {"dict.label.txt": dictionary}


def _check_sizes(state: State, config: Dict[str, Any], path: str) -> None:
    """Raise UserError unless all embeddings are there, of the width of the model, and heads are whole."""
    missing = [name for name in (_TOKENS, _POSITIONS, _TOKEN_TYPES) if name not in state]
    if missing:
        raise UserError(f"{path}: lacks the embeddings of a BERT: {', '.join(missing)}")
    width = config["hidden_size"]
    wrong = [n for n in (_TOKENS, _POSITIONS, _TOKEN_TYPES) if state[n].dim() != 2 or state[n].size(1) != width]
    wrong += [name for name in (_TOKENS, _POSITIONS, _TOKEN_TYPES) if state[name].numel() == 0]
    if wrong:
        raise UserError(f"{path}: hidden_size {width}: not the width of {', '.join(sorted(set(wrong)))}")
    head = [_OUTPUT + name for name in ("dense.bias", "layer_norm.weight", "layer_norm.bias", "bias")]
    lacking = [name for name in head if _OUTPUT + "dense.weight" in state and name not in state]
    if lacking:
        raise UserError(f"{path}: the head for masked words lacks {', '.join(lacking)}")
    classes = state.get(HEAD + "out_proj.weight")
    hidden = state.get(HEAD + "dense.weight", state.get("pooler.dense.weight"))
    is_whole = all(matrix is not None and matrix.dim() == 2 for matrix in (classes, hidden))
    if any(name.startswith(HEAD) for name in state) and not is_whole:
        raise UserError(f"{path}: its classifier is not one of sentences, a hidden layer and an output, as fairseq's")


def _check_entries(state: State, entries: int, vocabulary_path: str, path: str) -> None:
    """Raise UserError unless each entry of the vocabulary has an embedding, and the other way round."""
    rows = state[_TOKENS].size(0)
    if rows != entries:
        raise UserError(f"{path}: embeds {rows} entries, {vocabulary_path} has {entries}")


def _fairseq_weights(state: State, rows: List[int], config: Dict[str, Any], family: Family) -> State:
    """The weights, under fairseq's names already, with embeddings and heads as fairseq has them."""
    if HEAD + "out_proj.weight" in state and HEAD + "dense.weight" not in state:
        # BERT's pooler is the hidden layer of its classes.
        state = renamed(state, [(r"^pooler\.dense\.", HEAD + "dense.")])
    state = {name: tensor for name, tensor in state.items() if not name.startswith(_DROPPED)}
    scale = embedding_scale(config["layer_norm_eps"])
    tokens = state[_TOKENS][rows] * scale
    tokens[_PAD] = 0
    # Sentences are of token type 0, which adds the same at every position; fairseq counts those from behind padding.
    positions = (state[_POSITIONS][family.rows_of_padding :] + state.pop(_TOKEN_TYPES)[0]) * scale
    state[_TOKENS] = tokens
    state[_POSITIONS] = torch.cat([positions.new_zeros(_PAD + 1, positions.size(1)), positions])
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
