"""An encoder in a graph."""

from __future__ import annotations

from typing import Tuple

import torch.nn as nn
from fairseq.models.transformer import TransformerEncoder, TransformerEncoderBase
from fairseq.modules.transformer_layer import TransformerEncoderLayer, TransformerEncoderLayerBase

from fairseq_lite.export.checks import require_type, writer_of
from fairseq_lite.export.embeddings import Positions, embedded
from fairseq_lite.export.evolved import EncoderBranches, gated_linear_unit
from fairseq_lite.export.graph import Graph, Value
from fairseq_lite.export.layers import Residual, activation, feed_forward
from fairseq_lite.export.mixers import mixer
from fairseq_lite.export.source import Source
from fairseq_lite.export.weights import Weights
from fairseq_lite.models.evolved_layers import EvolvedTransformerEncoderLayer
from fairseq_lite.models.evolved_transformer import EvolvedTransformerEncoder
from fairseq_lite.models.linear_attention_layers import LinearAttentionEncoderLayer
from fairseq_lite.models.lite_transformer import LiteTransformerEncoder
from fairseq_lite.models.lsra_layers import LiteTransformerEncoderLayer
from fairseq_lite.models.t2r_transformer import T2REncoder

ENCODERS = (TransformerEncoderBase, TransformerEncoder, LiteTransformerEncoder, T2REncoder, EvolvedTransformerEncoder)


class EncoderLayer:
    """Self-attention and FFN, x: [S * B, C]."""

    def __init__(self, layer: nn.Module, activation_fn: str, weights: Weights):
        self.layer = layer
        self.weights = weights
        self.mixer = mixer(layer.self_attn, weights, "encoder")
        self.activate = activation(activation_fn)
        self.residual = Residual(weights, layer.normalize_before)

    def write(self, g: Graph, x: Value, source: Source) -> Value:
        """x: [S * B, C]; returns [S * B, C]."""
        layer = self.layer
        x = self.residual(g, x, layer.self_attn_layer_norm, lambda y: self.mixer.over(g, y, source))
        ffn = lambda y: feed_forward(g, y, layer, self.activate, self.weights)  # noqa: E731
        return self.residual(g, x, layer.final_layer_norm, ffn)


class EvolvedEncoderLayer(EncoderLayer):
    """A gated linear unit, branched convolutions, self-attention and FFN, x: [S * B, C]."""

    def __init__(self, layer: nn.Module, activation_fn: str, weights: Weights):
        super().__init__(layer, activation_fn, weights)
        self.branches = EncoderBranches(layer.conv, weights)

    def write(self, g: Graph, x: Value, source: Source) -> Value:
        """x: [S * B, C]; returns [S * B, C]."""
        layer = self.layer
        glu = lambda y: gated_linear_unit(g, y, layer.glu, self.weights)  # noqa: E731
        x = self.residual(g, x, layer.glu_layer_norm, glu)
        x = self.residual(g, x, layer.conv_layer_norm, lambda y: self.branches.over(g, y, source))
        return super().write(g, x, source)


LAYERS = {
    TransformerEncoderLayerBase: EncoderLayer,
    TransformerEncoderLayer: EncoderLayer,
    LinearAttentionEncoderLayer: EncoderLayer,
    LiteTransformerEncoderLayer: EncoderLayer,
    EvolvedTransformerEncoderLayer: EvolvedEncoderLayer,
}


class EncoderWriter:
    """Writes fairseq's Transformer encoder with layers of its own or of this package."""

    def __init__(self, encoder: nn.Module, weights: Weights):
        require_type(encoder, ENCODERS)
        self.encoder = encoder
        self.weights = weights
        self.positions = Positions(encoder.embed_positions, encoder.max_positions(), weights)
        self.layers = [writer_of(layer, LAYERS)(layer, encoder.cfg.activation_fn, weights) for layer in encoder.layers]
        self.width = encoder.embed_tokens.embedding_dim

    def write(self, g: Graph, tokens: Value) -> Value:
        """tokens: [B, S], padded on the right; returns features, [S * B, C]."""
        return self._features(g, tokens)[0]

    def write_first(self, g: Graph, tokens: Value) -> Value:
        """tokens: [B, S], padded on the right; returns the features of each sentence's first token, [B, C]."""
        x, source = self._features(g, tokens)
        return g.op("Gather", g.reshape(x, source.size, self.width), g.constant(0), axis=0)

    def _features(self, g: Graph, tokens: Value) -> Tuple[Value, Source]:
        """Features, [S * B, C]."""
        source = Source(g, tokens, self.encoder.padding_idx)
        x = self._embedded(g, source)
        for layer in self.layers:
            x = layer.write(g, x, source)
        return self.weights.layer_norm(g, x, self.encoder.layer_norm), source

    def _embedded(self, g: Graph, source: Source) -> Value:
        encoder = self.encoder
        ids = g.reshape(source.by_position, -1)
        x = embedded(g, ids, encoder.embed_tokens, encoder.embed_scale, self.weights)
        x = self.positions.add_first(g, g.reshape(x, source.size, self.width), source.length)
        x = self.weights.layer_norm(g, g.reshape(x, -1, self.width), encoder.layernorm_embedding)
        if encoder.quant_noise is not None:
            x = self.weights.linear(g, x, encoder.quant_noise)
        return source.without_padding(g, x)
