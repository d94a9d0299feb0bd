"""fairseq's blocking of repeated n-grams, held against a blocking by hand."""

import math

import pytest
import torch
from fairseq.ngram_repeat_block import NGramRepeatBlock

from fairseq_lite.hooks.repeated_ngrams import blocks_no_repeats

EOS, PAD, VOCABULARY = 2, 1, 8


def repeating(words, size):
    """The words after which an n-gram of `words` would come again."""
    seen = {tuple(words[i : i + size]) for i in range(len(words) - size + 1)}
    return [word for word in range(VOCABULARY) if (*words[len(words) - size + 1 :], word) in seen]


def buffers(rows, step, room):
    words = torch.randint(3, VOCABULARY, (rows, step))
    ends = torch.full((rows, 1), EOS), torch.full((rows, room), PAD)
    return torch.cat([ends[0], words, ends[1]], dim=1), words.tolist()


@pytest.mark.parametrize("room", [0, 1, 9])
@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_each_repeat_is_blocked_and_nothing_else(size, room):
    for step in range(12):
        tokens, words = buffers(6, step, room)
        scores = torch.randn(6, VOCABULARY)
        expected = scores.clone()
        for row in range(6):
            expected[row, repeating(words[row], size)] = -math.inf
        blocked = NGramRepeatBlock(size, use_extension=False)(tokens, scores, 2, 3, step)
        assert torch.equal(blocked, expected) and torch.equal(scores, expected)


def test_a_forced_word_stays():
    scores = torch.full((1, VOCABULARY), -math.inf)
    scores[0, 6] = -1.0
    blocked = NGramRepeatBlock(2, use_extension=False)(torch.tensor([[EOS, 5, 6, 5, PAD]]), scores.clone(), 1, 1, 3)
    assert torch.equal(blocked, scores)


def test_it_can_be_scripted():
    tokens, _ = buffers(4, 7, 3)
    scores, block = torch.randn(4, VOCABULARY), NGramRepeatBlock(2, use_extension=False)
    expected = block(tokens, scores.clone(), 2, 2, 7)
    assert torch.equal(torch.jit.script(block)(tokens, scores.clone(), 2, 2, 7), expected)


class OfPadding(NGramRepeatBlock):
    """Compares the end of the buffer, which is padding."""

    def _no_repeat_ngram(self, tokens, lprobs, bsz, beam_size, step):
        return lprobs


def test_a_probe_finds_releases_that_block_nothing():
    assert blocks_no_repeats(OfPadding)
    assert not blocks_no_repeats(NGramRepeatBlock)
