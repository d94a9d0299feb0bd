"""The causal product of linear attention, in three forms that are equal.

    S_t = g_t S_{t-1} + k_t v_t^T        z_t = g_t z_{t-1} + k_t
    numerator_t = S_t^T q_t              denominator_t = z_t . q_t

with q, k: [B, H, T, K] (features), v: [B, H, T, D] and, where there is a gate, log_decay: [B, H, T] = log g. The
state is S: [B, H, K, D] and z: [B, H, K], or None before the first position. All forms return (numerator: [B, H, T, D],
denominator: [B, H, T], (S, z) after the last position).
"""

from typing import Optional, Tuple

import torch
import torch.nn.functional as F
from torch import Tensor

Sums = Tuple[Tensor, Tensor]
Product = Tuple[Tensor, Tensor, Sums]

# With 32 features and 64 channels a head, the triangle of so many positions costs about as much as their state.
CHUNK = 64


def causal_product(
    q: Tensor, k: Tensor, v: Tensor, state: Optional[Sums] = None, log_decay: Optional[Tensor] = None
) -> Product:
    """The causal product after a state by the form that suits the length."""
    if q.size(2) == 1:
        return recurrent_step(q, k, v, state, log_decay)
    return chunked(q, k, v, state, log_decay)


def quadratic(
    q: Tensor, k: Tensor, v: Tensor, state: Optional[Sums] = None, log_decay: Optional[Tensor] = None
) -> Product:
    """The reference: all T x T products, of which a triangle is kept."""
    if log_decay is None:
        log_decay = torch.zeros_like(q[..., 0])
    since_start = log_decay.cumsum(-1)
    scores = q @ k.transpose(-1, -2) * decay_between(since_start)
    numerator, denominator = scores @ v, scores.sum(-1)
    k = k * (since_start[..., -1:] - since_start).exp().unsqueeze(-1)
    S_after, z_after = k.transpose(-1, -2) @ v, k.sum(2)
    if state is not None:
        S, z = state
        q = q * since_start.exp().unsqueeze(-1)
        last = since_start[..., -1].exp().unsqueeze(-1)
        numerator, denominator = numerator + q @ S, denominator + (q @ z.unsqueeze(-1)).squeeze(-1)
        S_after, z_after = S_after + S * last.unsqueeze(-1), z_after + z * last
    return numerator, denominator, (S_after, z_after)


def recurrent_step(
    q: Tensor, k: Tensor, v: Tensor, state: Optional[Sums] = None, log_decay: Optional[Tensor] = None
) -> Product:
    """One position, T = 1."""
    if state is None:
        S, z = k.transpose(-1, -2) * v, k.squeeze(2)
    else:
        S, z = state
        if log_decay is not None:
            decay = log_decay.exp()
            S, z = S * decay.unsqueeze(-1), z * decay
        S, z = torch.addcmul(S, k.transpose(-1, -2), v), z + k.squeeze(2)
    return q @ S, (q @ z.unsqueeze(-1)).squeeze(-1), (S, z)


def chunked(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    state: Optional[Sums] = None,
    log_decay: Optional[Tensor] = None,
    chunk: int = CHUNK,
) -> Product:
    """Chunks of positions: a triangle of products within each, the state between them; linear in T."""
    T = q.size(2)
    size = min(chunk, T)
    q, k, v = _split(q, size), _split(k, size), _split(v, size)
    scores = q @ k.transpose(-1, -2)
    last: Optional[Tensor] = None
    if log_decay is None:
        scores = scores.tril()
    else:
        since_start = _split(log_decay.unsqueeze(-1), size).squeeze(-1).cumsum(-1)
        scores = scores * decay_between(since_start)
        q = q * since_start.exp().unsqueeze(-1)
        k = k * (since_start[..., -1:] - since_start).exp().unsqueeze(-1)
        last = since_start[..., -1].exp()
    numerator, denominator = scores @ v, scores.sum(-1)
    S, z = k.transpose(-1, -2) @ v, k.sum(3)
    if state is not None or q.size(2) > 1:
        S = _running_sum(None if state is None else state[0], S, last)
        z = _running_sum(None if state is None else state[1], z, last)
        numerator = numerator + q @ S[:, :, :-1]
        denominator = denominator + (q @ z[:, :, :-1].unsqueeze(-1)).squeeze(-1)
    numerator, denominator = numerator.flatten(2, 3)[:, :, :T], denominator.flatten(2, 3)[:, :, :T]
    return numerator, denominator, (S[:, :, -1], z[:, :, -1])


def _split(x: Tensor, size: int) -> Tensor:
    """Cut x: [B, H, T, C] into chunks, [B, H, N, size, C], the last one filled up with zeros."""
    B, H, T, C = x.shape
    rest = -T % size
    if rest > 0:
        x = F.pad(x, (0, 0, 0, rest))
    return x.reshape(B, H, -1, size, C)


def decay_between(since_start: Tensor) -> Tensor:
    """Decay from each position (last dimension) to each later one (last but one), 0 to earlier ones."""
    between = since_start.unsqueeze(-1) - since_start.unsqueeze(-2)
    later = torch.ones_like(between, dtype=torch.bool).tril()
    # Filled before the exponential, which could overflow where nothing is to be kept.
    return between.masked_fill(~later, float("-inf")).exp()


def _running_sum(first: Optional[Tensor], terms: Tensor, decay: Optional[Tensor]) -> Tensor:
    """The states before, between and after the chunks, [B, H, N + 1, ...], from their terms: [B, H, N, ...].

    Each is the one before, times the decay: [B, H, N] of the chunk between, plus the chunk's term.
    """
    if first is None:
        first = torch.zeros_like(terms[:, :, 0])
    if decay is None:
        return torch.cat([first.unsqueeze(2), terms], dim=2).cumsum(2)
    states = [first]
    for n in range(terms.size(2)):
        before = states[-1]
        states.append(before * decay[:, :, n].view(decay.shape[:2] + (1,) * (before.dim() - 2)) + terms[:, :, n])
    return torch.stack(states, dim=2)
