"""--no-repeat-ngram-size blocks words, where fairseq compares the padding behind them and so blocks nothing."""

import math

import torch


def blocks_no_repeats(blocker) -> bool:
    """Whether "5 6 5" may go on with 6 although no bigram may repeat, in a buffer with room for more words."""
    tokens = torch.tensor([[2, 5, 6, 5, 1, 1]])
    return blocker(2, use_extension=False)(tokens, torch.zeros(1, 8), 1, 1, 3)[0, 6].item() > -math.inf


def block_repeated_ngrams() -> None:
    """Let fairseq's search without its CUDA extension compare the words of a hypothesis."""
    from fairseq.ngram_repeat_block import NGramRepeatBlock

    if blocks_no_repeats(NGramRepeatBlock):
        NGramRepeatBlock._no_repeat_ngram = _no_repeat_ngram


def _no_repeat_ngram(self, tokens, lprobs, bsz: int, beam_size: int, step: int):
    """Give -inf to each word that would end an n-gram that is in the hypothesis already, in place.

    A row of which nothing would be left keeps its scores: one word is forced there, by a prefix or the longest length.

    Args:
        tokens: the symbol of the start, `step` words and padding: [N, >= step + 1]
        lprobs: log-probabilities of the next word: [N, V]
    """
    size = self.no_repeat_ngram_size
    if step < size:
        return lprobs
    words = tokens[:, 1 : step + 1]
    ngrams = words.unfold(1, size, 1)
    latest = words[:, step + 1 - size :].unsqueeze(1)
    repeated = (ngrams[:, :, : size - 1] == latest).all(dim=2)
    blocked = torch.zeros_like(lprobs).scatter_add(1, ngrams[:, :, size - 1], repeated.to(lprobs)) > 0
    rest = lprobs.masked_fill(blocked, -math.inf)
    left = (rest > -math.inf).any(dim=1, keepdim=True)
    return lprobs.copy_(torch.where(left, rest, lprobs))
