"""A random BERT of one layer, and sentences of two classes for it."""

import json
import random

import torch

PLACES = ["ham", "rye", "cheddar", "york"]
FOODS = ["plum", "bread", "soup", "rice"]
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
VOCABULARY = [*SPECIAL[:3], "the", "of", *PLACES, *FOODS, *SPECIAL[3:]]
WIDTH, FFN, HEADS, POSITIONS = 16, 32, 2, 12
SIZES = (
    f"--encoder-layers 1 --encoder-embed-dim {WIDTH} --encoder-ffn-embed-dim {FFN} --encoder-attention-heads {HEADS}"
)


def bert_weights(positions):
    """Random weights of a BERT of one layer, under the names of transformers."""
    shapes = {
        "embeddings.word_embeddings.weight": (len(VOCABULARY), WIDTH),
        "embeddings.position_embeddings.weight": (positions, WIDTH),
        "embeddings.token_type_embeddings.weight": (2, WIDTH),
    }
    linears = {f"attention.self.{name}": (WIDTH, WIDTH) for name in ("query", "key", "value")}
    linears["attention.output.dense"] = (WIDTH, WIDTH)
    linears["intermediate.dense"], linears["output.dense"] = (FFN, WIDTH), (WIDTH, FFN)
    for name, shape in linears.items():
        shapes[f"encoder.layer.0.{name}.weight"], shapes[f"encoder.layer.0.{name}.bias"] = shape, shape[:1]
    state = {name: 0.1 * torch.randn(shape) for name, shape in shapes.items()}
    for name in ("embeddings", "encoder.layer.0.attention.output", "encoder.layer.0.output"):
        state[f"{name}.LayerNorm.weight"], state[f"{name}.LayerNorm.bias"] = torch.ones(WIDTH), torch.zeros(WIDTH)
    return state


def write_bert(folder, positions=POSITIONS):
    """Fill a folder as transformers saves a BERT of sentences of so many tokens; needs safetensors."""
    from safetensors.torch import save_file

    config = dict(
        model_type="bert", hidden_size=WIDTH, intermediate_size=FFN, num_attention_heads=HEADS, num_hidden_layers=1,
        max_position_embeddings=positions, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
    )  # fmt: skip
    torch.manual_seed(1)
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "vocab.txt").write_text("\n".join(VOCABULARY) + "\n")
    save_file(bert_weights(positions), str(folder / "model.safetensors"))


def _sentence(rng):
    names = rng.choice([PLACES, FOODS])
    words = [rng.choice([*names, "the", "of"]) for _ in range(rng.randint(1, 6))]
    return " ".join([*words, rng.choice(names)]), "place" if names is PLACES else "food"


def write_sentences(folder):
    """Write {train,valid,test}.{text,label}: a sentence and its class a line."""
    rng = random.Random(3)
    for split, size in (("train", 300), ("valid", 40), ("test", 40)):
        texts, labels = zip(*(_sentence(rng) for _ in range(size)))
        (folder / f"{split}.text").write_text("\n".join(texts) + "\n")
        (folder / f"{split}.label").write_text("\n".join(labels) + "\n")
