"""A tiny decoder twice: in a graph and as a fairseq model; its logits depend on every word and the source."""

from argparse import Namespace

import numpy as np
import onnxruntime
import torch
from fairseq.data import Dictionary
from fairseq.models import FairseqDecoder, FairseqEncoder, FairseqEncoderDecoderModel, FairseqLanguageModel
from fairseq.sequence_generator import SequenceGenerator
from fairseq.tasks.language_modeling import LanguageModelingTask

from fairseq_lite.export.graph import Graph
from fairseq_lite.export.rows import State
from fairseq_lite.export.search import beam_search, search_options
from fairseq_lite.export.word_scores import Words

WIDTH = 6
# what each step adds to the features
LATER = 0.1
WORDS = Words(start=2, pad=1, eos=2, unk=3)


class Weights:
    """Random weights for a vocabulary; `poison` is a word after which all logits are not a number."""

    def __init__(self, vocabulary, seed=0, poison=None):
        random = np.random.default_rng(seed)
        draw = lambda *shape: random.normal(size=shape).astype(np.float32)  # noqa: E731
        self.vocabulary = vocabulary
        self.source, self.words = draw(vocabulary, WIDTH), draw(vocabulary, WIDTH)
        self.out, self.bias = draw(WIDTH, vocabulary), draw(vocabulary)
        self.bias[WORDS.eos] += 1.5
        if poison is not None:
            self.words[poison] = np.nan


class GraphDecoder:
    """h = 0.7 h + word and a growing list of words are row states; the source's mean is a sentence state."""

    def __init__(self, weights):
        self.weights, self.vocabulary = weights, weights.vocabulary

    def begin(self, g, sentences, rows):
        row = g.op("Reshape", rows, g.constant([1]))
        decayed = g.op("Expand", g.constant(0.0), g.op("Concat", row, g.constant([WIDTH]), axis=0))
        list_ = g.op("Expand", g.constant(0.0), g.op("Concat", row, g.constant([0, WIDTH]), axis=0))
        return [
            State(decayed, np.float32, ["rows", WIDTH], "row"),
            *(State(value, np.float32, [None, WIDTH], "sentence") for value in sentences),
            State(list_, np.float32, ["rows", None, WIDTH], "row"),
        ]

    def step(self, body, tokens, step, states, home, alone=False):
        decayed, *source, words = states
        word = body.op("Gather", body.weight("words", self.weights.words), tokens)
        decayed = body.op("Add", body.op("Mul", decayed, body.constant(0.7)), word)
        words = body.op("Concat", words, body.op("Unsqueeze", word, body.constant([1])), axis=1)
        mean = body.op("ReduceMean", words, body.constant([1]), keepdims=0)
        late = body.op("Mul", body.op("Cast", step, to=1), body.constant(LATER))
        h = body.op("Add", body.op("Add", decayed, mean), late)
        for value in source:
            sentences = body.op("Shape", value, start=0, end=1)
            by_sentence = body.op("Concat", sentences, body.constant([-1, WIDTH]), axis=0)
            h = body.op("Add", body.op("Reshape", h, by_sentence), body.op("Unsqueeze", value, body.constant([1])))
            h = body.op("Reshape", h, body.constant([-1, WIDTH]))
        product = body.op("MatMul", body.op("Sin", h), body.weight("out", self.weights.out))
        return body.op("Add", product, body.weight("bias", self.weights.bias)), [decayed, words]


def source_mean(g, source, weights):
    """Mean of the source words' vectors without padding, and the sources' lengths."""
    real = g.op("Cast", g.op("Not", g.op("Equal", source, g.constant(WORDS.pad))), to=7)
    lengths = g.op("ReduceSum", real, g.constant([1]), keepdims=0)
    vectors = g.op("Gather", g.weight("source_words", weights.source), source)
    mask = g.op("Unsqueeze", g.op("Cast", real, to=1), g.constant([2]))
    total = g.op("ReduceSum", g.op("Mul", vectors, mask), g.constant([1]), keepdims=0)
    return g.op("Div", total, g.op("Unsqueeze", g.op("Cast", lengths, to=1), g.constant([1]))), lengths


def session(g):
    """A session of one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(g.model({}).SerializeToString(), options, ["CPUExecutionProvider"])


def translator(weights, max_target=None):
    """A session of the toy with its search: source, options -> tokens, scores, lengths."""
    g = Graph("toy")
    source = g.input("source", np.int64, [None, None])
    prefix = g.input("prefix", np.int64, [None, None])
    mean, lengths = source_mean(g, source, weights)
    write_outputs(
        g, beam_search(g, GraphDecoder(weights), [mean], lengths, prefix, search_options(g), WORDS, max_target)
    )
    return session(g)


def language_model(weights, start=WORDS.start, max_target=None):
    """A session of the toy without a source: prefix, options -> tokens, scores, lengths."""
    g = Graph("toy")
    prefix = g.input("prefix", np.int64, [None, None])
    real = g.op("Cast", g.op("Not", g.op("Equal", prefix, g.constant(WORDS.pad))), to=7)
    lengths = g.op("Add", g.op("ReduceSum", real, g.constant([1]), keepdims=0), g.constant(1))
    words = WORDS._replace(start=start)
    write_outputs(g, beam_search(g, GraphDecoder(weights), [], lengths, prefix, search_options(g), words, max_target))
    return session(g)


def write_outputs(g, found):
    """The hypotheses as the outputs of the graph."""
    outputs = (("tokens", np.int64, 3), ("scores", np.float32, 2), ("lengths", np.int64, 2))
    for value, (name, dtype, rank) in zip(found, outputs):
        g.output(name, value, dtype, [None] * rank)


class ToyEncoder(FairseqEncoder):
    def __init__(self, dictionary, weights):
        super().__init__(dictionary)
        self.vectors = torch.from_numpy(weights.source)

    def forward(self, src_tokens, src_lengths=None, **_):
        real = src_tokens.ne(WORDS.pad).float()
        return (self.vectors[src_tokens] * real[..., None]).sum(1) / real.sum(1, keepdim=True)

    def reorder_encoder_out(self, encoder_out, new_order):
        return encoder_out[new_order]


class ToyDecoder(FairseqDecoder):
    def __init__(self, dictionary, weights, max_target):
        super().__init__(dictionary)
        self.words, self.out, self.bias = map(torch.from_numpy, (weights.words, weights.out, weights.bias))
        self.max_target = max_target

    def forward(self, prev_output_tokens, encoder_out=None, **_):
        words = self.words[prev_output_tokens]
        decayed = torch.zeros_like(words[:, 0])
        for t in range(words.shape[1]):
            decayed = 0.7 * decayed + words[:, t]
        h = decayed + words.mean(1) + LATER * (words.shape[1] - 1)
        if encoder_out is not None:
            h = h + encoder_out
        return (h.sin() @ self.out + self.bias)[:, None], None

    def max_positions(self):
        return self.max_target or 10**6


def dictionary(vocabulary):
    """A dictionary of that many words with fairseq's four special ones."""
    words = Dictionary()
    for index in range(vocabulary - len(words)):
        words.add_symbol(f"w{index}")
    assert len(words) == vocabulary
    return words


def generator(weights, max_target=None, **options):
    """fairseq's generator over the toy."""
    words = dictionary(weights.vocabulary)
    model = FairseqEncoderDecoderModel(ToyEncoder(words, weights), ToyDecoder(words, weights, max_target))
    return SequenceGenerator([model], words, **options)


def of_language_model(weights, prompt, start, max_target=None, **options):
    """What fairseq's language modelling task makes of a prompt; its start is eos, or bos with --add-bos-token."""
    words = dictionary(weights.vocabulary)
    model = FairseqLanguageModel(ToyDecoder(words, weights, max_target))
    task = LanguageModelingTask(Namespace(add_bos_token=start == words.bos()), words)
    tokens = torch.tensor([[start, *prompt]])
    made = SequenceGenerator([model], words, **options)
    found = task.inference_step(made, [model], {"net_input": {"src_tokens": tokens}})
    return [[(h["tokens"].tolist(), float(h["score"])) for h in sentence] for sentence in found]
