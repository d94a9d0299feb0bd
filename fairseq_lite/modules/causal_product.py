"""The causal product of linear attention, in three forms that are equal.

    S_t = g_t S_{t-1} + k_t v_t^T        z_t = g_t z_{t-1} + k_t
    numerator_t = S_t^T q_t              denominator_t = z_t . q_t

with q, k: [B, H, T, K] (features), v: [B, H, T, D] and, where there is a gate, log_decay: [B, H, T] = log g. The
state is S: [B, H, K, D], z: [B, H, K]. All forms return (numerator: [B, H, T, D], denominator: [B, H, T], S, z).
"""

from typing import Optional, Tuple

import torch
import torch.nn.functional as F
from torch import Tensor

Product = Tuple[Tensor, Tensor, Tensor, Tensor]

# The least time on CPUs for 16 to 64 features and 32 to 64 channels a head.
CHUNK = 64


def no_state(k: Tensor, v: Tensor) -> Tuple[Tensor, Tensor]:
    """S and z before the first position."""
    B, H, _, K = k.shape
    return k.new_zeros(B, H, K, v.size(-1)), k.new_zeros(B, H, K)


def causal_product(
    q: Tensor, k: Tensor, v: Tensor, S: Tensor, z: Tensor, log_decay: Optional[Tensor] = None
) -> Product:
    """The causal product after the state S, z by the form that suits the length."""
    if q.size(2) == 1:
        return recurrent_step(q, k, v, S, z, log_decay)
    return chunked(q, k, v, S, z, log_decay)


def masked(q: Tensor, k: Tensor, v: Tensor, S: Tensor, z: Tensor, log_decay: Optional[Tensor] = None) -> Product:
    """The reference: all T x T products, of which a triangle is kept."""
    if log_decay is None:
        log_decay = torch.zeros_like(q[..., 0])
    since_start = log_decay.cumsum(-1)
    scores = q @ k.transpose(-1, -2) * _decay_between(since_start)
    q = q * since_start.exp().unsqueeze(-1)
    numerator = scores @ v + q @ S
    denominator = scores.sum(-1) + (q @ z.unsqueeze(-1)).squeeze(-1)
    k = k * (since_start[..., -1:] - since_start).exp().unsqueeze(-1)
    last = since_start[..., -1].exp().unsqueeze(-1)
    return numerator, denominator, S * last.unsqueeze(-1) + k.transpose(-1, -2) @ v, z * last + k.sum(2)


def recurrent_step(
    q: Tensor, k: Tensor, v: Tensor, S: Tensor, z: Tensor, log_decay: Optional[Tensor] = None
) -> Product:
    """One position, T = 1."""
    if log_decay is not None:
        decay = log_decay.exp()
        S, z = S * decay.unsqueeze(-1), z * decay
    S = S + k.transpose(-1, -2) * v
    z = z + k.squeeze(2)
    return q @ S, (q @ z.unsqueeze(-1)).squeeze(-1), S, z


def chunked(
    q: Tensor, k: Tensor, v: Tensor, S: Tensor, z: Tensor, log_decay: Optional[Tensor] = None, chunk: int = CHUNK
) -> Product:
    """Chunks of positions: a triangle of products within each, the state between them; linear in T."""
    T = q.size(2)
    size = min(chunk, T)
    q, k, v = _split(q, size), _split(k, size), _split(v, size)
    scores = q @ k.transpose(-1, -2)
    if log_decay is None:
        scores = scores.tril()
        states = torch.cat([S.unsqueeze(2), k.transpose(-1, -2) @ v], dim=2).cumsum(2)
        sums = torch.cat([z.unsqueeze(2), k.sum(3)], dim=2).cumsum(2)
    else:
        since_start = _split(log_decay.unsqueeze(-1), size).squeeze(-1).cumsum(-1)
        scores = scores * _decay_between(since_start)
        q = q * since_start.exp().unsqueeze(-1)
        k = k * (since_start[..., -1:] - since_start).exp().unsqueeze(-1)
        last = since_start[..., -1].exp()
        states = _decaying_sum(S, k.transpose(-1, -2) @ v, last.unsqueeze(-1).unsqueeze(-1))
        sums = _decaying_sum(z, k.sum(3), last.unsqueeze(-1))
    numerator = scores @ v + q @ states[:, :, :-1]
    denominator = scores.sum(-1) + (q @ sums[:, :, :-1].unsqueeze(-1)).squeeze(-1)
    numerator = numerator.flatten(2, 3)[:, :, :T]
    denominator = denominator.flatten(2, 3)[:, :, :T]
    return numerator, denominator, states[:, :, -1], sums[:, :, -1]


def _split(x: Tensor, size: int) -> Tensor:
    """Cut x: [B, H, T, C] into chunks, [B, H, N, size, C], the last one filled up with zeros."""
    B, H, T, C = x.shape
    rest = -T % size
    if rest > 0:
        x = F.pad(x, (0, 0, 0, rest))
    return x.reshape(B, H, -1, size, C)


def _decay_between(since_start: Tensor) -> Tensor:
    """Decay from each position (last dimension) to each later one (last but one), 0 to earlier ones."""
    between = since_start.unsqueeze(-1) - since_start.unsqueeze(-2)
    later = torch.ones_like(between, dtype=torch.bool).tril()
    # Filled before the exponential, which could overflow where nothing is to be kept.
    return between.masked_fill(~later, float("-inf")).exp()


def _decaying_sum(first: Tensor, terms: Tensor, decay: Tensor) -> Tensor:
    """All states from `first` on: each is the one before times its decay plus its term, along dimension 2."""
    states = [first]
    for n in range(terms.size(2)):
        states.append(states[-1] * decay[:, :, n] + terms[:, :, n])
    return torch.stack(states, dim=2)
