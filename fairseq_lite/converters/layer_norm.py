"""Layer normalisation trained with another epsilon than fairseq's.

It divides by sqrt(v + eps), where v is the variance of its input: 1e-12 or 1e-5 matters where v is small.
"""

import math

import torch
import torch.nn as nn

from fairseq_lite.models.fast_path import leave_fast_path

FAIRSEQ_EPS = 1e-5
# A power of two leaves every digit, and 1e-8 of eps beside variances around 1e-3.
LARGEST_SCALE = 32.0
SENTENCES, LENGTH = 16, 16


def embedding_scale(eps: float) -> float:
    """The factor on embeddings with which their normalisation by fairseq equals that by `eps`.

    sqrt(v + eps) = sqrt(c^2 v + 1e-5) / c for c^2 = 1e-5 / eps. The factor is bounded, since Adam's steps do not grow
    with it.
    """
    return min(LARGEST_SCALE, math.sqrt(FAIRSEQ_EPS / eps))


@torch.no_grad()
def make_up_for_eps(encoder: nn.Module, eps: float) -> None:
    """Multiply the normalisations' weights in a TransformerEncoder's layers by what fairseq's eps takes on average.

    That is sqrt(1 + E[1 / v] (1e-5 - eps)). The variances are those of sentences of random words, the same every time.
    """
    norms = [norm for layer in encoder.layers for norm in (layer.self_attn_layer_norm, layer.final_layer_norm)]
    inverses = {}

    def observe(norm, inputs, output):
        inverses[norm] = (1 / inputs[0].var(-1, unbiased=False)).mean()

    for layer in encoder.layers:
        leave_fast_path(layer)  # which would not call the normalisations
    hooks = [norm.register_forward_hook(observe) for norm in norms]
    encoder.eval()(_sentences(encoder))
    for hook in hooks:
        hook.remove()
    for norm in norms:
        norm.weight *= (1 + inverses[norm] * (FAIRSEQ_EPS - eps)).sqrt()


def _sentences(encoder: nn.Module) -> torch.Tensor:
    """Random words between the symbols that begin and end a sentence, [B, T]."""
    generator = torch.Generator().manual_seed(1)
    first_word = encoder.dictionary.nspecial
    shape = (SENTENCES, min(LENGTH, encoder.max_positions()))
    tokens = torch.randint(first_word, len(encoder.dictionary), shape, generator=generator)
    tokens[:, 0], tokens[:, -1] = encoder.dictionary.bos(), encoder.dictionary.eos()
    return tokens
