"""The sides of benchmarks/export.py: the same work by an exported graph, by fairseq or torch, by CTranslate2."""

from __future__ import annotations

import copy
from typing import Callable

import numpy as np
import onnxruntime
import torch
from fairseq.sequence_generator import SequenceGenerator

from fairseq_lite.building import build_architecture, dictionary_of_size
from fairseq_lite.export.config import TRANSLATION, Config
from fairseq_lite.export.graphs import write
from fairseq_lite.export.shortlist import Shortlist
from fairseq_lite.models.pruned import narrow
from fairseq_lite.modules import Widths

VOCABULARY, EOS, CLASSES = 10000, 2, 2
Work = Callable[[], object]


def tokens(batch: int, length: int) -> np.ndarray:
    """Random words [batch, length], each sentence with its eos."""
    words = np.random.default_rng(1).integers(4, VOCABULARY, (batch, length))
    words[:, -1] = EOS
    return words


def build(architecture: str, options: list[str] = ()) -> torch.nn.Module:
    """The model that fairseq-train would start from; a call builds the same one again."""
    torch.manual_seed(1)
    return build_architecture(architecture, options, VOCABULARY).eval()


def exported(
    model: torch.nn.Module, kind: str, bits: int, shortlist: Shortlist | None = None
) -> onnxruntime.InferenceSession:
    """The exported graph of a model, on one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    # inputs with defaults are meant so
    options.log_severity_level = 3
    graph = write(copy.deepcopy(model), Config(kind, "benchmark", bits, portable=False), shortlist)
    return onnxruntime.InferenceSession(graph.SerializeToString(), options, providers=["CPUExecutionProvider"])


def generation(kind: str, session: onnxruntime.InferenceSession, source: np.ndarray, beam: int, length: int) -> Work:
    """Generate exactly `length` tokens and eos with an exported graph."""
    given = {"source": source} if kind == TRANSLATION else {"prefix": source[:, :-1]}
    numbers = {"beam": beam, "min_len": length, "max_len_b": length}
    feed = {**given, **{name: np.array(number) for name, number in numbers.items()}}
    return lambda: session.run(None, feed)


def fairseq_generation(kind: str, model: torch.nn.Module, source: np.ndarray, beam: int, length: int) -> Work:
    """The same by fairseq's generator."""
    model = copy.deepcopy(model)
    model.make_generation_fast_(beamable_mm_beam_size=1, need_attn=False)
    made = SequenceGenerator([model], dictionary_of_size(VOCABULARY), beam_size=beam, min_len=length, max_len_b=length)
    words = torch.from_numpy(source if kind == TRANSLATION else source[:, :-1])
    sample = {"net_input": {"src_tokens": words, "src_lengths": torch.full((len(words),), words.shape[1])}}
    prefix = None if kind == TRANSLATION else words
    return lambda: made.generate([], sample, prefix_tokens=prefix)


def classifier(layers: int, width: int, ffn: int, heads: int, kept: float = 1.0) -> torch.nn.Module:
    """A BERT of these sizes with a head; of the neurons of each linear layer of its encoder a part is kept."""
    sizes = [f"--encoder-layers={layers}", f"--encoder-embed-dim={width}", f"--encoder-ffn-embed-dim={ffn}"]
    model = build("roberta", [*sizes, f"--encoder-attention-heads={heads}", "--max-positions=512"])
    model.register_classification_head("sentence_classification_head", num_classes=CLASSES)
    if kept < 1:
        narrow(model, _widths(layers, width, ffn, heads, kept))
    return model.eval()


def _widths(layers: int, width: int, ffn: int, heads: int, kept: float) -> dict[str, Widths]:
    """The widths of a shrunk encoder; heads are all as wide, as in one that lost the same from each."""
    inner, outer, hidden = round(kept * width / heads) * heads, round(kept * width), round(kept * ffn)
    into_heads = Widths(width, width, inner, inner)
    attention = {name: into_heads for name in ("q_proj", "k_proj", "v_proj")}
    attention["out_proj"] = Widths(inner, inner, width, outer)
    feed_forward = {"fc1": Widths(width, width, hidden, hidden), "fc2": Widths(hidden, hidden, width, outer)}
    each = {**{f"self_attn.{name}": widths for name, widths in attention.items()}, **feed_forward}
    return {
        f"encoder.sentence_encoder.layers.{layer}.{name}": widths
        for layer in range(layers)
        for name, widths in each.items()
    }


def classification(session: onnxruntime.InferenceSession, source: np.ndarray) -> Work:
    """Classify with an exported graph."""
    return lambda: session.run(None, {"source": source})


def torch_classification(model: torch.nn.Module, source: np.ndarray) -> Work:
    """The same by torch."""
    words = torch.from_numpy(source)

    @torch.no_grad()
    def classify():
        logits, _ = model(words, features_only=True, classification_head_name="sentence_classification_head")
        return torch.log_softmax(logits, -1)

    return classify
