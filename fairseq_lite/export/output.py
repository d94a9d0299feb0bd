"""The output layer of a decoder."""

from __future__ import annotations

import torch.nn as nn
from fairseq.modules import AdaptiveSoftmax
from fairseq.modules.adaptive_softmax import TiedHeadModule, TiedLinear

from fairseq_lite.errors import UserError
from fairseq_lite.export.affines import Affine, Matrix, array_of
from fairseq_lite.export.graph import Graph, Value
from fairseq_lite.export.weights import Weights


class Projection:
    """One product, whose weight may be the table of embeddings."""

    def __init__(self, projection: nn.Module, weights: Weights):
        self.affine = weights.affine(projection)
        self.weights = weights
        self.vocabulary = self.affine.width

    def logits(self, g: Graph, x: Value) -> Value:
        """x: [N, C]; returns [N, V]."""
        return self.weights.linear(g, x, self.affine)

    def of(self, g: Graph, words: Value) -> SomeWords:
        """The same for some words, ids: [W]."""
        return SomeWords(g, self, words)


class SomeWords:
    """The product for W words, whose rows are put together once a batch."""

    def __init__(self, g: Graph, projection: Projection, words: Value):
        affine = projection.affine
        self.product = projection.weights.matrices.product_of_rows(g, words, affine.matrix)
        self.bias = None
        if affine.bias is not None:
            self.bias = g.op("Gather", g.weight(f"{affine.name}.bias", affine.bias), words)

    def logits(self, g: Graph, x: Value) -> Value:
        """x: [N, C]; returns [N, W]."""
        y = self.product(g, x)
        return y if self.bias is None else g.op("Add", y, self.bias)


class Adaptive:
    """Adaptive softmax: frequent words in the head, a product of its own for each band of rarer ones."""

    def __init__(self, softmax: AdaptiveSoftmax, weights: Weights):
        self.softmax = softmax
        self.weights = weights
        self.vocabulary = softmax.vocab_size
        self.head = self._head(softmax.head)
        # in each band: projection, dropout, output
        self.tails = [(self._linear(tail[0]), self._linear(tail[2])) for tail in softmax.tail]

    def of(self, g: Graph, words: Value) -> SomeWords:
        raise UserError("--shortlist: an adaptive softmax takes none; leave the option out")

    def _linear(self, layer: nn.Module) -> Affine:
        if type(layer) is not TiedLinear:
            return self.weights.affine(layer)
        weight = array_of(layer.weight)
        name = self.weights.names.of(layer.weight)
        if layer.transpose:
            return Affine(Matrix(f"{name}.transposed", weight.T), None, weight.shape[1])
        return Affine(Matrix(name, weight), None, len(weight))

    def _head(self, head: nn.Module):
        """The products of the head, each a sequence of layers: words, then bands."""
        if type(head) is not TiedHeadModule:
            return [[self.weights.affine(head)]]
        words = list(head.word_proj) if type(head.word_proj) is nn.Sequential else [head.word_proj]
        return [[self._linear(layer) for layer in words], [self._linear(head.class_proj)]]

    def _through(self, g: Graph, x: Value, affines) -> Value:
        for affine in affines:
            x = self.weights.linear(g, x, affine)
        return x

    def logits(self, g: Graph, x: Value) -> Value:
        """log-probabilities of all words, x: [N, C]; returns [N, V]."""
        products = [self._through(g, x, affines) for affines in self.head]
        head = products[0] if len(products) == 1 else g.op("Concat", *products, axis=1)
        sizes = g.constant([self.softmax.cutoff[0], *[1] * len(self.tails)])
        words, *priors = g.op("Split", g.op("LogSoftmax", head, axis=1), sizes, outputs=1 + len(self.tails), axis=1)
        bands = [
            g.op("Add", g.op("LogSoftmax", self._through(g, x, affines), axis=1), prior)
            for affines, prior in zip(self.tails, priors)
        ]
        return g.op("Concat", words, *bands, axis=1)


def output_of(decoder: nn.Module, weights: Weights):
    """The writer of a decoder's output layer; raises UserError for one of another kind."""
    if decoder.adaptive_softmax is not None:
        if type(decoder.adaptive_softmax) is not AdaptiveSoftmax:
            raise UserError(f"{type(decoder.adaptive_softmax).__name__}: cannot be exported")
        return Adaptive(decoder.adaptive_softmax, weights)
    return Projection(decoder.output_projection, weights)
