"""CTranslate2's side of benchmarks/export.py: an int8 Transformer base with random weights."""

from __future__ import annotations

import tempfile
from typing import Callable

import ctranslate2
import numpy as np
from ctranslate2.specs import TransformerSpec
from ctranslate2.specs.model_spec import visit_spec

LAYERS, WIDTH, FFN, HEADS = 6, 512, 2048, 8
SPECIAL = ["<s>", "<blank>", "</s>", "<unk>"]
# what a name ends with, and the shape of the weight; the first that fits counts
SHAPES = {
    "attention/linear_1/weight": {"self": (WIDTH, WIDTH), "cross": (2 * WIDTH, WIDTH)},
    "attention/linear_0/weight": {"self": (3 * WIDTH, WIDTH), "cross": (WIDTH, WIDTH)},
    "attention/linear_2/weight": {"cross": (WIDTH, WIDTH)},
    "ffn/linear_0/weight": {"": (FFN, WIDTH)},
    "ffn/linear_1/weight": {"": (WIDTH, FFN)},
}


def _shape(name: str, vocabulary: int) -> tuple[int, ...]:
    for ending, shapes in SHAPES.items():
        if name.endswith(ending):
            kind = "" if "ffn" in ending else "self" if "self_attention" in name else "cross"
            return shapes[kind]
    return (WIDTH,) if name.endswith(("gamma", "beta", "bias")) else (vocabulary, WIDTH)


def _fill(spec: TransformerSpec, vocabulary: int) -> None:
    """Random weights, and biases of zero, wherever the model has a weight."""
    random = np.random.default_rng(1)

    def fill(layer, name: str, value) -> None:
        key = name.rpartition("/")[2]
        if value is None:
            shape = _shape(name, vocabulary)
            weight = random.normal(scale=WIDTH**-0.5, size=shape).astype(np.float32)
            setattr(layer, key, np.ones(shape, np.float32) if key == "gamma" else weight)
        elif key == "bias" and "linear" in name:
            setattr(layer, key, np.zeros(len(layer.weight), np.float32))

    visit_spec(spec, fill)


def transformer_base(vocabulary: int) -> Callable:
    """A function that gives the side for (source, beam, length): the work by its name."""
    spec = TransformerSpec.from_config((LAYERS, LAYERS), HEADS, pre_norm=False)
    _fill(spec, vocabulary)
    words = [*SPECIAL, *(f"w{index}" for index in range(vocabulary - len(SPECIAL)))]
    spec.register_source_vocabulary(words)
    spec.register_target_vocabulary(words)
    spec.validate()
    spec.optimize(quantization="int8")
    with tempfile.TemporaryDirectory() as folder:
        spec.save(folder)
        translator = ctranslate2.Translator(folder, device="cpu", compute_type="int8", inter_threads=1, intra_threads=1)

    def side(source: np.ndarray, beam: int, length: int) -> dict[str, Callable[[], object]]:
        sentences = [[words[index] for index in row] for row in source]
        options = {"beam_size": beam, "min_decoding_length": length, "max_decoding_length": length}
        return {"CTranslate2, int8": lambda: translator.translate_batch(sentences, max_batch_size=0, **options)}

    return side
