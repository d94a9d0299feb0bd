"""Associative recall: lines of keys with values, seen once and asked for later.

    python recall.py make FOLDER                writes {train,valid,test}.txt
    python recall.py score DATA CHECKPOINT ...  prints the share of right answers by the number of pairs

A line is `k3 v7 k9 v1 ... ? k9 v1 k3 v7 ...`: after the question mark the keys come again in a random order, and the
word after it is right if it is the key's value. DATA is the folder of fairseq-preprocess.
"""

import argparse
import random
from collections import defaultdict
from pathlib import Path

import torch
from fairseq.data import Dictionary, data_utils

from fairseq_lite.checkpoints import load_model

KEYS = VALUES = 16
PAIRS = (2, 4, 8)
LINES = {"train": 20000, "valid": 300, "test": 1000}
ASK = "?"


def line(rng: random.Random, pairs: int) -> str:
    """Pairs, the question mark, and the pairs in a random order.

    For two pairs that may be the order that they had: always the other one would tell an answer by its place.
    """
    seen = [f"k{key} v{rng.randrange(VALUES)}" for key in rng.sample(range(KEYS), pairs)]
    return " ".join([*seen, ASK, *rng.sample(seen, pairs)])


def make(folder: Path) -> None:
    """Write the splits, each of lines of every number of pairs."""
    folder.mkdir(parents=True, exist_ok=True)
    for seed, (split, lines) in enumerate(LINES.items()):
        rng = random.Random(seed)
        text = "".join(line(rng, rng.choice(PAIRS)) + "\n" for _ in range(lines))
        (folder / f"{split}.txt").write_text(text, encoding="utf-8")


@torch.no_grad()
def score(data: Path, checkpoint: str) -> dict[int, float]:
    """The share of right answers by the number of pairs of a line of the test set."""
    dictionary, model = Dictionary.load(str(data / "dict.txt")), load_model(checkpoint)
    ask, eos = dictionary.index(ASK), dictionary.eos()
    right, asked = defaultdict(int), defaultdict(int)
    for tokens in data_utils.load_indexed_dataset(str(data / "test"), dictionary):
        # as fairseq trains: eos, then the line
        best = model(torch.cat([tokens.new_tensor([eos]), tokens[:-1]]).long()[None])[0].argmax(-1)[0]
        first = int((tokens == ask).nonzero()[0]) + 2
        answers, pairs = slice(first, len(tokens) - 1, 2), (len(tokens) - 2) // 4
        right[pairs] += int((best[answers] == tokens[answers]).sum())
        asked[pairs] += pairs
    return {pairs: right[pairs] / asked[pairs] for pairs in sorted(asked)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=["make", "score"])
    parser.add_argument("folder", type=Path)
    parser.add_argument("checkpoints", nargs="*")
    args = parser.parse_args()
    if args.action == "make":
        make(args.folder)
    for checkpoint in args.checkpoints:
        shares = " ".join(f"{pairs} pairs {share:.3f}" for pairs, share in score(args.folder, checkpoint).items())
        print(f"{checkpoint}: {shares}", flush=True)


if __name__ == "__main__":
    main()
