"""A decoder in a graph, written step by step."""

from __future__ import annotations

import itertools
from typing import List, Optional, Tuple

import numpy as np
import torch.nn as nn
from fairseq.models.transformer import TransformerDecoder, TransformerDecoderBase
from fairseq.modules.transformer_layer import TransformerDecoderLayer, TransformerDecoderLayerBase

from fairseq_lite.export.checks import require_type
from fairseq_lite.export.embeddings import Positions, embedded
from fairseq_lite.export.graph import Graph, Value
from fairseq_lite.export.layers import Residual, activation, feed_forward, scaled_by_head
from fairseq_lite.export.mixers import mixer
from fairseq_lite.export.output import output_of
from fairseq_lite.export.rows import State
from fairseq_lite.export.source import Source
from fairseq_lite.export.weights import Weights
from fairseq_lite.models.linear_attention_layers import LinearAttentionDecoderLayer
from fairseq_lite.models.lite_transformer import LiteTransformerDecoder
from fairseq_lite.models.lsra_layers import LiteTransformerDecoderLayer
from fairseq_lite.models.t2r_transformer import T2RDecoder

DECODERS = (TransformerDecoderBase, TransformerDecoder, LiteTransformerDecoder, T2RDecoder)
LAYERS = (
    TransformerDecoderLayerBase,
    TransformerDecoderLayer,
    LinearAttentionDecoderLayer,
    LiteTransformerDecoderLayer,
)


class DecoderLayer:
    """Self-attention, attention to the source if there is one, and FFN; x: [N, C]."""

    def __init__(self, layer: nn.Module, activation_fn: str, weights: Weights):
        require_type(layer, LAYERS)
        self.layer = layer
        self.weights = weights
        self.causal = mixer(layer.self_attn, weights, "causal")
        self.cross = None if layer.encoder_attn is None else mixer(layer.encoder_attn, weights, "cross")
        self.activate = activation(activation_fn)
        self.residual = Residual(weights, layer.normalize_before)

    def step(self, g: Graph, x: Value, own: List[Value], crossed: List[Value], sentences: Optional[Value]):
        """x: [N, C], `own` states of self-attention, `crossed` of the source; returns [N, C] and the new own states."""
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


class DecoderWriter:
    """Writes fairseq's Transformer decoder with layers of its own or of this package, as the search asks for it."""

    def __init__(self, decoder: nn.Module, weights: Weights):
        require_type(decoder, DECODERS)
        self.decoder = decoder
        self.weights = weights
        self.max_positions = decoder.max_positions()
        self.positions = Positions(decoder.embed_positions, self.max_positions, weights)
        self.layers = [DecoderLayer(layer, decoder.cfg.activation_fn, weights) for layer in decoder.layers]
        self.output = output_of(decoder, weights)
        self.vocabulary = self.output.vocabulary
        self.crosses = any(layer.cross is not None for layer in self.layers)

    def begin(self, g: Graph, sentences: List[Value], rows: Value) -> List[State]:
        """States before the first step: those of the source, then those of the rows.

        Args:
            sentences: features [B, S, C] and tokens [B, S] of the source; empty for a language model
            rows: number N of rows, int64: []
        """
        return [*self.sentence_states(g, sentences), *self.row_states(g, rows)]

    def sentence_states(self, g: Graph, sentences: List[Value]) -> List[State]:
        """What each layer attends to of the source."""
        if not sentences:
            return []
        source = Source(g, sentences[1], self.decoder.padding_idx)
        encoded = g.reshape(sentences[0], -1, self.decoder.cfg.encoder.embed_dim)
        return [state for layer in self.layers for state in layer.cross.begin(g, encoded, source)]

    def row_states(self, g: Graph, rows: Value) -> List[State]:
        """What each layer remembers of its past."""
        count = g.reshape(rows, 1)
        return [state for layer in self.layers for state in layer.causal.begin(g, count)]

    def step(
        self, body: Graph, tokens: Value, step: Value, states: List[Value], home: Graph, alone: bool = False
    ) -> Tuple[Value, List[Value]]:
        """One step: last words tokens: [N], words before them step: []; returns logits [N, V] and the row states."""
        x = self._embedded(body, tokens, step)
        crossing = self.crosses
        sentences = body.op("Shape", states[0], start=0, end=1) if crossing and not alone else None
        mine = iter(states)
        crossed = [list(itertools.islice(mine, layer.cross.count)) if crossing else [] for layer in self.layers]
        after: List[Value] = []
        for layer, of_source in zip(self.layers, crossed):
            own = list(itertools.islice(mine, layer.causal.count))
            x, new = layer.step(body, x, own, of_source, sentences)
            after += new
        x = self.weights.layer_norm(body, x, self.decoder.layer_norm)
        if self.decoder.project_out_dim is not None:
            x = self.weights.linear(body, x, self.decoder.project_out_dim)
        return self.output.logits(body, x), after

    def _embedded(self, g: Graph, tokens: Value, step: Value) -> Value:
        decoder = self.decoder
        x = embedded(g, tokens, decoder.embed_tokens, self.weights)
        if decoder.embed_scale != 1:
            x = g.op("Mul", x, g.constant(np.float32(decoder.embed_scale)))
        for projection in (decoder.quant_noise, decoder.project_in_dim):
            if projection is not None:
                x = self.weights.linear(g, x, projection)
        x = self.positions.add_one(g, x, step)
        return self.weights.layer_norm(g, x, decoder.layernorm_embedding)
