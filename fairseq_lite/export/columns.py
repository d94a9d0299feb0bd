"""The words that the columns of logits stand for: all of a vocabulary, or those that may translate a batch."""

from __future__ import annotations

from typing import NamedTuple, Optional

import numpy as np
from onnx import TensorProto

from fairseq_lite.export.config import Config
from fairseq_lite.export.graph import Graph, Value
from fairseq_lite.export.shortlist import Shortlist

# columns are searched in blocks: the best are in the blocks with the largest maxima
SMALLEST_BLOCK, LARGEST_BLOCK = 4, 256
# columns of a block where not all words have one; their number is filled up to a multiple of it
BLOCK = 16


class Columns(NamedTuple):
    """The columns of logits; those of special entries, such as eos, are their ids.

    Args:
        words: id of the word of each column, int64: [W]
        block: columns that are searched together, a divisor of W
        blocks: W / block, int64: [1]
        places: column of each word, int64: [V]; None where that is its id
        mask: what is added to the logits of each sentence, [B, W]; None for nothing
    """

    words: Value
    block: int
    blocks: Value
    places: Optional[Value] = None
    mask: Optional[Value] = None

    def word(self, g: Graph, column: Value) -> Value:
        """Ids of the words of columns."""
        return column if self.places is None else g.op("Gather", self.words, column)

    def column(self, g: Graph, word: Value) -> Value:
        """Columns of words that have one."""
        return word if self.places is None else g.op("Gather", self.places, word)


def block_size(vocabulary: int) -> int:
    """The divisor of the vocabulary's size that lies nearest its square root, 1 where none is of use."""
    sizes = [size for size in range(SMALLEST_BLOCK, LARGEST_BLOCK + 1) if vocabulary % size == 0]
    return min(sizes, key=lambda size: size + vocabulary // size, default=1)


def all_words(g: Graph, vocabulary: int) -> Columns:
    """A column for each word, its id."""
    block = block_size(vocabulary)
    every = g.op("Range", g.constant(0), g.constant(vocabulary), g.constant(1))
    return Columns(every, block, g.constant([vocabulary // block]))


def of_shortlist(g: Graph, shortlist: Shortlist, source: Value, prefix: Value, vocabulary: int) -> Columns:
    """Columns for the words that may translate any sentence of a batch, masked where they may not translate this one.

    Args:
        source: int64: [B, S]
        prefix: forced first words of each sentence, which may be others, int64: [B, P]
    """
    sentences = g.op("Shape", source, start=0, end=1)
    table = g.op("Gather", g.weight("shortlist", shortlist.of_word), source)
    wanted = [g.reshape(g.op("Cast", table, to=TensorProto.INT64), 0, -1)]
    wanted.append(g.op("Expand", g.weight("shortlist.always", shortlist.always[None]), g.shape(sentences, 1)))
    wanted = g.op("Concat", *wanted, prefix, axis=1)
    ones = g.op("Expand", g.constant(1.0), g.op("Shape", wanted))
    none = g.op("Expand", g.constant(0.0), g.shape(sentences, vocabulary))
    may = g.op("ScatterElements", none, wanted, ones, axis=1)

    words = g.op("Squeeze", g.op("NonZero", g.op("ReduceMax", may, g.constant([0]), keepdims=0)), g.constant([0]))
    number = g.op("Shape", words)
    order = g.op("Range", g.constant(0), g.op("Squeeze", number), g.constant(1))
    places = g.op("ScatterElements", g.op("Expand", g.constant(0), g.constant([vocabulary])), words, order)
    allowed = g.op("Greater", g.op("Gather", may, words, axis=1), g.constant(0.0))
    never = g.constant(-np.inf)
    mask = g.op("Where", allowed, g.constant(0.0), never)

    missing = g.op("Mod", g.op("Neg", number), g.constant(BLOCK))
    mask = g.op("Pad", mask, g.shape(0, 0, 0, missing), never)
    words = g.op("Pad", words, g.shape(0, missing), g.constant(Config.pad))
    blocks = g.op("Div", g.op("Shape", words), g.constant(BLOCK))
    return Columns(words, BLOCK, blocks, places, mask)
