"""A roberta encoder with its classification head in a graph."""

from __future__ import annotations

import torch.nn as nn
from fairseq.models.roberta.model import RobertaClassificationHead, RobertaEncoder, RobertaModel

from fairseq_lite.errors import UserError
from fairseq_lite.export.checks import require_type
from fairseq_lite.export.encoder import EncoderWriter
from fairseq_lite.export.graph import Graph, Value
from fairseq_lite.export.layers import activation
from fairseq_lite.export.weights import Weights


class ClassifierWriter:
    """Writes a roberta model, whose one classification head looks at the first token."""

    def __init__(self, model: RobertaModel, weights: Weights):
        require_type(model.encoder, [RobertaEncoder])
        heads = list(model.classification_heads.values())
        if len(heads) != 1:
            raise UserError(f"{len(heads)} classification heads: an encoder with one can be exported")
        self.head: nn.Module = heads[0]
        require_type(self.head, [RobertaClassificationHead])
        if hasattr(self.head.out_proj, "weight_orig"):
            raise UserError("--spectral-norm-classification-head: cannot be exported")
        self.encoder = EncoderWriter(model.encoder.sentence_encoder, weights)
        self.activate = activation(model.args.pooler_activation_fn, "pooler-activation-fn")
        self.weights = weights
        self.classes = self.head.out_proj.out_features

    def write(self, g: Graph, tokens: Value) -> Value:
        """tokens: [B, S], padded on the right; returns log-probabilities of the classes, [B, classes]."""
        first = self.encoder.write_first(g, tokens)
        hidden = self.activate(g, self.weights.linear(g, first, self.head.dense))
        return g.op("LogSoftmax", self.weights.linear(g, hidden, self.head.out_proj), axis=1)
