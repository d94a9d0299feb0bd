"""One step of linear attention to the past: S = g S + (1 - g) phi(k) v^T, or without a gate S + phi(k) v^T."""

from __future__ import annotations

from typing import Callable, NamedTuple, Tuple

from fairseq_lite.export.graph import CONTRIB, Graph, Value


class Step(NamedTuple):
    """The values of a step.

    Args:
        q, k: features, [N, H, 1, k]
        v: [N, H * d]
        state: S, [N, H, k, d]
        logits: the gate is their sigmoid, [N, H]; none without a gate
        sizes: H, k and d
    """

    q: Value
    k: Value
    v: Value
    state: Value
    logits: Value
    sizes: Tuple[int, int, int]


def _gated(g: Graph, k: Value, logits: Value) -> Value:
    """(1 - g) phi(k), [N, H, 1, k]."""
    return g.op("Mul", k, g.op("Sigmoid", g.op("Neg", logits)))


def in_standard_operators(g: Graph, step: Step) -> Tuple[Value, Value]:
    """phi(q)^T S: [N, H, 1, d] and the next S."""
    heads, features, width = step.sizes
    k, state = step.k, step.state
    if step.logits:
        logits = g.reshape(step.logits, -1, heads, 1, 1)
        k, state = _gated(g, k, logits), g.op("Mul", state, g.op("Sigmoid", logits))
    products = g.op("Mul", g.reshape(k, -1, heads, features, 1), g.reshape(step.v, -1, heads, 1, width))
    state = g.op("Add", state, products)
    return g.op("MatMul", step.q, state), state


def in_one_operator(g: Graph, step: Step) -> Tuple[Value, Value]:
    """The same by onnxruntime's LinearAttention, which reads and writes the state once."""
    heads, features, width = step.sizes
    k, rule, decay = step.k, "linear", []
    if step.logits:
        k = _gated(g, k, g.reshape(step.logits, -1, heads, 1, 1))
        log_decay = g.op("Neg", g.op("Softplus", g.op("Neg", step.logits)))
        rule, decay = "gated", [g.reshape(log_decay, -1, 1, heads)]
    packed = [g.reshape(x, -1, 1, heads * size) for x, size in ((step.q, features), (k, features), (step.v, width))]
    attributes = {"update_rule": rule, "scale": 1.0, "q_num_heads": heads, "kv_num_heads": heads}
    sums, state = g.op("LinearAttention", *packed, step.state, *decay, outputs=2, domain=CONTRIB, **attributes)
    return g.reshape(sums, -1, heads, 1, width), state


def recurrence(portable: bool) -> Callable[[Graph, Step], Tuple[Value, Value]]:
    """The faster way, or the one in standard operators alone."""
    return in_standard_operators if portable else in_one_operator
