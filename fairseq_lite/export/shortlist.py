"""Which words may translate a source word, learnt from parallel text; so a step computes the logits of few words."""

from __future__ import annotations

import os
from typing import NamedTuple, Sequence, Tuple

import numpy as np
from fairseq.data import data_utils

from fairseq_lite.errors import ArgumentError
from fairseq_lite.export.config import Config

# Every sentence may use them. They are the first ids, so that the columns of logits for them are their ids too.
SPECIAL = (Config.bos, Config.pad, Config.eos, Config.unk)
# Pairs of a source word and a target word in the sentences that are read; a pair takes some 30 bytes.
PAIRS = 2**25
ITERATIONS = 5
# so many of the most frequent target words may appear in every translation
FREQUENT = 64


class Shortlist(NamedTuple):
    """Target words that may appear in a translation.

    Args:
        of_word: those that translate each source word, ids: [V of the source, K]; eos fills rows up
        always: those that may always appear, int64: [A]
    """

    of_word: np.ndarray
    always: np.ndarray


class Lexicon(NamedTuple):
    """p(target | source) of P pairs of words; source, target: ids [P], probability: [P]."""

    source: np.ndarray
    target: np.ndarray
    probability: np.ndarray


Pairs = Sequence[Tuple[np.ndarray, np.ndarray]]


def shortlist_of(pairs: Pairs, size: int, source: Sequence[str], target: Sequence[str]) -> Shortlist:
    """The words that parallel text suggests.

    Args:
        pairs: ids of sentences and their translations, with eos
        size: K, most words for a source word
        source, target: the words of the dictionaries in the order of their ids
    """
    of_word = np.full((len(source), size), Config.eos, np.uint16 if len(target) <= 2**16 else np.int32)
    lexicon = ibm_model_1(pairs, len(target))
    order = np.lexsort((-lexicon.probability, lexicon.source))
    words, translations = lexicon.source[order], lexicon.target[order]
    rank = np.arange(len(words)) - np.searchsorted(words, words)
    # the last place is for the word itself, which names and numbers keep
    kept = rank < size - 1
    of_word[words[kept], rank[kept]] = translations[kept]
    ids = {word: number for number, word in enumerate(target)}
    of_word[:, -1] = [ids.get(word, Config.eos) for word in source]
    counts = np.bincount(np.concatenate([sentence for _, sentence in pairs]), minlength=len(target))
    frequent = np.argsort(-counts, kind="stable")[:FREQUENT]
    return Shortlist(of_word, np.union1d(frequent, SPECIAL))


def ibm_model_1(pairs: Pairs, target_words: int) -> Lexicon:
    """The translation probabilities of IBM model 1 (Brown et al., 1993), by expectation and maximisation.

    The eos of the source stands for the empty word.
    """
    sources, targets, groups, first = [], [], [], 0
    for source, target in pairs:
        words = len(target) - 1
        sources.append(np.repeat(source, words))
        targets.append(np.tile(target[:words], len(source)))
        groups.append(first + np.tile(np.arange(words), len(source)))
        first += words
    keys = np.concatenate(sources).astype(np.int64) * target_words + np.concatenate(targets)
    group = np.concatenate(groups)
    keys, pair = np.unique(keys, return_inverse=True)
    source, target = np.divmod(keys, target_words)
    probability = np.ones(len(keys))
    for _ in range(ITERATIONS):
        share = probability[pair]
        share /= np.bincount(group, share)[group]
        counts = np.bincount(pair, share)
        probability = counts / np.bincount(source, counts)[source]
    return Lexicon(source, target, probability)


def read_pairs(folder: str, source: str, target: str, words: Sequence[int]) -> Pairs:
    """Sentences of the training set that fairseq-preprocess wrote, evenly spaced where it has more than PAIRS pairs.

    Args:
        source, target: languages
        words: entries of the dictionaries of source and target

    Raises ArgumentError where the folder has none, or one of larger dictionaries.
    """
    for languages in (f"{source}-{target}", f"{target}-{source}"):
        prefix = os.path.join(folder, f"train.{languages}.")
        if all(os.path.isfile(f"{prefix}{language}.bin") for language in (source, target)):
            pairs = _pairs_of(prefix, source, target)
            break
    else:
        raise ArgumentError(
            "data", folder, f"has no train.{source}-{target}, of which a shortlist is learnt; give the training data"
        )
    if not pairs:
        raise ArgumentError("data", folder, "its training set has no sentence, of which a shortlist could be learnt")
    largest = [max(sentence.max() for sentence in side) for side in zip(*pairs)]
    if any(most >= known for most, known in zip(largest, words)):
        raise ArgumentError("data", folder, "was made with larger dictionaries than the model's; give the model's own")
    return pairs


def _pairs_of(prefix: str, *languages: str) -> Pairs:
    try:
        sides = [data_utils.load_indexed_dataset(prefix + language, None) for language in languages]
        sizes = [np.asarray(side.sizes, np.int64) for side in sides]
        step = max(1, -(-int((sizes[0] * sizes[1]).sum()) // PAIRS))
        return [tuple(side[number].numpy() for side in sides) for number in range(0, len(sides[0]), step)]
    except Exception as error:  # fairseq's readers check nothing, so that anything may be raised
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ArgumentError("data", prefix, f"cannot be read ({reason}); run fairseq-preprocess again") from None
