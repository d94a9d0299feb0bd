"""A decoder in a graph, written step by step."""

from __future__ import annotations

import itertools
from typing import Iterator, List, Optional, Sequence, Tuple

import numpy as np
import torch.nn as nn
from fairseq.models.transformer import TransformerDecoder, TransformerDecoderBase
from fairseq.modules.transformer_layer import TransformerDecoderLayer, TransformerDecoderLayerBase

from fairseq_lite.export.checks import require_type, writer_of
from fairseq_lite.export.columns import Columns
from fairseq_lite.export.embeddings import Positions, embedded
from fairseq_lite.export.evolved import DecoderBranches, ParallelAttentions, swish
from fairseq_lite.export.graph import Graph, Value
from fairseq_lite.export.layers import Residual, activation, feed_forward, scaled_by_head
from fairseq_lite.export.mixers import mixer
from fairseq_lite.export.output import output_of
from fairseq_lite.export.rows import SENTENCE, State, as_many_rows
from fairseq_lite.export.source import Source
from fairseq_lite.export.weights import Weights
from fairseq_lite.models.evolved_layers import EvolvedTransformerDecoderLayer
from fairseq_lite.models.evolved_transformer import EvolvedTransformerDecoder
from fairseq_lite.models.linear_attention_layers import LinearAttentionDecoderLayer
from fairseq_lite.models.lite_transformer import LiteTransformerDecoder
from fairseq_lite.models.lsra_layers import LiteTransformerDecoderLayer
from fairseq_lite.models.t2r_transformer import T2RDecoder

DECODERS = (TransformerDecoderBase, TransformerDecoder, LiteTransformerDecoder, T2RDecoder, EvolvedTransformerDecoder)


def take(states: Iterator[Value], parts: Sequence) -> List[Value]:
    """The next states, those of all parts, of which each has `count`."""
    return list(itertools.islice(states, sum(part.count for part in parts)))


class DecoderLayer:
    """Self-attention, attention to the source if there is one, and FFN; x: [N, C]."""

    def __init__(self, layer: nn.Module, activation_fn: str, weights: Weights):
        self.layer = layer
        self.weights = weights
        self.causal = mixer(layer.self_attn, weights, "causal")
        self.cross = None if layer.encoder_attn is None else mixer(layer.encoder_attn, weights, "cross")
        self.activate = activation(activation_fn)
        self.residual = Residual(weights, layer.normalize_before)

    @property
    def past_parts(self) -> List:
        """What has states of the past, in their order."""
        return [self.causal]

    @property
    def source_parts(self) -> List:
        """What has states of the source, in their order."""
        return [self.cross] if self.cross is not None else []

    def step(self, g: Graph, x: Value, own: List[Value], crossed: List[Value], sentences: Optional[Value]):
        """x: [N, C], `own` states of the past, `crossed` of the source; returns [N, C] and the new own states."""
        layer = self.layer
        after: List[Value] = []

        def attend(y: Value) -> Value:
            y, states = self.causal.step(g, y, own)
            after.extend(states)
            return scaled_by_head(g, y, layer, self.weights)

        x = self.residual(g, x, layer.self_attn_layer_norm, attend)
        if self.cross is not None:
            cross = lambda y: self.cross.step(g, y, crossed, sentences)  # noqa: E731
            x = self.residual(g, x, layer.encoder_attn_layer_norm, cross)
        ffn = lambda y: feed_forward(g, y, layer, self.activate, self.weights)  # noqa: E731
        return self.residual(g, x, layer.final_layer_norm, ffn, layer.w_resid), after


class EvolvedDecoderLayer(DecoderLayer):
    """Attention to the past and the source at once, branched convolutions, then what a DecoderLayer has; x: [N, C]."""

    def __init__(self, layer: nn.Module, activation_fn: str, weights: Weights):
        super().__init__(layer, activation_fn, weights)
        self.activate = swish
        self.first = ParallelAttentions(layer.first_attn, weights)
        self.branches = DecoderBranches(layer.conv, weights)

    @property
    def past_parts(self) -> List:
        return [self.first.causal, self.branches, *super().past_parts]

    @property
    def source_parts(self) -> List:
        return [self.first.cross, *super().source_parts] if self.first.cross is not None else []

    def step(self, g: Graph, x: Value, own: List[Value], crossed: List[Value], sentences: Optional[Value]):
        layer = self.layer
        mine, of_source = iter(own), iter(crossed)
        first, columns, own = (take(mine, [part]) for part in self.past_parts)
        first_crossed, crossed = (take(of_source, [part]) for part in self.source_parts)
        after: List[Value] = []

        def attend(y: Value) -> Value:
            y, states = self.first.step(g, y, first, first_crossed, sentences)
            after.extend(states)
            return y

        def convolve(y: Value) -> Value:
            y, states = self.branches.step(g, y, columns)
            after.extend(states)
            return y

        x = self.residual(g, x, layer.first_attn_layer_norm, attend)
        x = self.residual(g, x, layer.conv_layer_norm, convolve)
        x, last = super().step(g, x, own, crossed, sentences)
        return x, after + last


LAYERS = {
    TransformerDecoderLayerBase: DecoderLayer,
    TransformerDecoderLayer: DecoderLayer,
    LinearAttentionDecoderLayer: DecoderLayer,
    LiteTransformerDecoderLayer: DecoderLayer,
    EvolvedTransformerDecoderLayer: EvolvedDecoderLayer,
}


class DecoderWriter:
    """Writes fairseq's Transformer decoder with layers of its own or of this package, as the search asks for it."""

    def __init__(self, decoder: nn.Module, weights: Weights):
        require_type(decoder, DECODERS)
        self.decoder = decoder
        self.weights = weights
        self.max_positions = decoder.max_positions()
        self.positions = Positions(decoder.embed_positions, self.max_positions, weights)
        self.layers = [writer_of(layer, LAYERS)(layer, decoder.cfg.activation_fn, weights) for layer in decoder.layers]
        self.output = output_of(decoder, weights)
        self.vocabulary = self.output.vocabulary
        self.columns: Optional[Columns] = None
        self.crosses = any(layer.source_parts for layer in self.layers)

    def restrict(self, g: Graph, columns: Columns) -> None:
        """Write logits of some words alone from now on; raises UserError where the output layer cannot."""
        self.columns, self.output = columns, self.output.of(g, columns.words)

    def begin(self, g: Graph, sentences: List[Value], rows: Value) -> List[State]:
        """States before the first step: those of the source, the mask of some words, then those of the rows.

        Args:
            sentences: features [S * B, C] and tokens [B, S] of the source; empty for a language model
            rows: number N of rows, int64: []
        """
        masks = [State(self.columns.mask, np.float32, ["sentences", None], SENTENCE)] if self.columns else []
        return [*self.sentence_states(g, sentences), *masks, *self.row_states(g, rows)]

    def sentence_states(self, g: Graph, sentences: List[Value]) -> List[State]:
        """What each layer attends to of the source."""
        if not sentences:
            return []
        source = Source(g, sentences[1], self.decoder.padding_idx)
        parts = [part for layer in self.layers for part in layer.source_parts]
        return [state for part in parts for state in part.begin(g, sentences[0], source)]

    def row_states(self, g: Graph, rows: Value) -> List[State]:
        """What each layer remembers of its past."""
        count = g.reshape(rows, 1)
        return [state for layer in self.layers for part in layer.past_parts for state in part.begin(g, count)]

    def step(
        self, body: Graph, tokens: Value, step: Value, states: List[Value], home: Graph, alone: bool = False
    ) -> Tuple[Value, List[Value]]:
        """One step: last words tokens: [N], words before them step: []; returns logits [N, V] and the row states."""
        x = self._embedded(body, tokens, step)
        sentences = body.op("Shape", states[0], start=0, end=1) if self.crosses and not alone else None
        rest = iter(states)
        crossed = [take(rest, layer.source_parts) for layer in self.layers]
        mask = next(rest) if self.columns else None
        after: List[Value] = []
        for layer, of_source in zip(self.layers, crossed):
            own = take(rest, layer.past_parts)
            x, new = layer.step(body, x, own, of_source, sentences)
            after += new
        x = self.weights.layer_norm(body, x, self.decoder.layer_norm)
        if self.decoder.project_out_dim is not None:
            x = self.weights.linear(body, x, self.decoder.project_out_dim)
        logits = self.output.logits(body, as_many_rows(body, x, tokens))
        return logits if mask is None else self._masked(body, logits, mask, sentences), after

    def _masked(self, g: Graph, logits: Value, mask: Value, sentences: Optional[Value]) -> Value:
        """logits: [N, W] plus the mask of each row's sentence, [B, W]; B = N where `sentences` is None."""
        if sentences is None:
            return g.op("Add", logits, mask)
        width = g.op("Shape", mask, start=1, end=2)
        by_sentence = g.reshape(logits, sentences, -1, width)
        return g.reshape(g.op("Add", by_sentence, g.op("Unsqueeze", mask, g.constant([1]))), -1, width)

    def _embedded(self, g: Graph, tokens: Value, step: Value) -> Value:
        decoder = self.decoder
        x = embedded(g, tokens, decoder.embed_tokens, decoder.embed_scale, self.weights)
        for projection in (decoder.quant_noise, decoder.project_in_dim):
            if projection is not None:
                x = self.weights.linear(g, x, projection)
        x = self.positions.add_one(g, x, step)
        return self.weights.layer_norm(g, x, decoder.layernorm_embedding)
