"""What encoder and decoder layers have in common: residual connections, layer norms and the FFN."""

from __future__ import annotations

from typing import Callable, Dict

import torch.nn as nn

from fairseq_lite.errors import UserError
from fairseq_lite.export.graph import Graph, Value
from fairseq_lite.export.weights import Weights


def relu(g: Graph, x: Value) -> Value:
    """What is not negative."""
    return g.op("Relu", x)


def _squared_relu(g: Graph, x: Value) -> Value:
    positive = relu(g, x)
    return g.op("Mul", positive, positive)


ACTIVATIONS: Dict[str, Callable[[Graph, Value], Value]] = {
    "relu": relu,
    "relu_squared": _squared_relu,
    "gelu": lambda g, x: g.op("Gelu", x),
    "gelu_accurate": lambda g, x: g.op("Gelu", x, approximate="tanh"),
    "gelu_fast": lambda g, x: g.op("Gelu", x, approximate="tanh"),
    "tanh": lambda g, x: g.op("Tanh", x),
    "linear": lambda g, x: x,
}


def activation(name: str, option: str = "activation-fn") -> Callable[[Graph, Value], Value]:
    """What writes an activation of fairseq; raises UserError for one that is not exported."""
    if str(name) not in ACTIVATIONS:
        raise UserError(f"--{option} {name}: cannot be exported; those that can are {', '.join(ACTIVATIONS)}")
    return ACTIVATIONS[str(name)]


class Residual:
    """x + f(norm(x)) or norm(x + f(x)), as the layer's options say."""

    def __init__(self, weights: Weights, before: bool):
        self.weights = weights
        self.before = before

    def __call__(self, g: Graph, x: Value, norm: nn.LayerNorm, write: Callable[[Value], Value], scale=None) -> Value:
        """Write the block `write` with its residual connection; `scale`: [C] is what the residual is multiplied by."""
        y = write(self.weights.layer_norm(g, x, norm) if self.before else x)
        residual = x if scale is None else g.op("Mul", x, self.weights.vector(g, scale))
        y = g.op("Add", residual, y)
        return y if self.before else self.weights.layer_norm(g, y, norm)


def feed_forward(g: Graph, x: Value, layer: nn.Module, activate: Callable, weights: Weights) -> Value:
    """The FFN of a layer, x: [N, C]."""
    hidden, norm = weights.linear(g, x, layer.fc1), getattr(layer, "ffn_layernorm", None)
    if activate is relu and norm is None:
        return weights.linear(g, hidden, layer.fc2, relu=True)
    return weights.linear(g, weights.layer_norm(g, activate(g, hidden), norm), layer.fc2)


def scaled_by_head(g: Graph, x: Value, layer: nn.Module, weights: Weights) -> Value:
    """The output of self-attention with what --scale-heads and --scale-attn add, x: [N, C]."""
    if getattr(layer, "c_attn", None) is not None:
        by_head = g.reshape(x, -1, layer.nh, layer.head_dim)
        scale = g.derived(
            ("by head", weights.names.of(layer.c_attn)),
            lambda home: home.reshape(weights.vector(home, layer.c_attn), layer.nh, 1),
        )
        x = g.reshape(g.op("Mul", by_head, scale), -1, layer.nh * layer.head_dim)
    return weights.layer_norm(g, x, getattr(layer, "attn_ln", None))
