"""Trained translators on one thread: exported Lite Transformers against CTranslate2's int8 Transformers, with BLEU.

Usage: python benchmarks/export_pair.py DATA --lite CHECKPOINT ... --stock CHECKPOINT ... [--bits 32 8 4]
                                        [--shortlist 0 K] [--sentences N] [--rounds N] [--output FILE.md]

DATA is what examples/multi30k/prepare.sh made. Every side translates the same sentences of its test set, sorted by
length, greedily and with beam 4, alone and in batches of 16. Sides take turns in one process; times are medians of its
processor time. BLEU is of the translations of the batches. --shortlist K lets both sides use the words alone that
fairseq-lite export --shortlist K learns, CTranslate2 as its vocabulary map. It needs `pip install ctranslate2`.
"""

from __future__ import annotations

import argparse
import itertools
import tempfile
from functools import cache, partial
from pathlib import Path
from typing import Callable, Sequence

import ctranslate2
import numpy as np
import sacrebleu
import torch
from export import processor, seconds_in_turns
from export_sides import exported
from fairseq.data import Dictionary
from timing import environment, markdown_table, output_parser, tell

from fairseq_lite.checkpoints import load_model
from fairseq_lite.export.config import TRANSLATION
from fairseq_lite.export.shortlist import Shortlist, read_pairs, shortlist_of

BEAMS, BATCHES = (1, 4), (1, 16)
SOURCE, TARGET = "en", "de"
Batch = Sequence[Sequence[str]]
# the best hypothesis of each sentence of a batch, by (batch, beam)
Translate = Callable[[Batch, int], Batch]


def dictionaries(data: Path) -> dict[str, Dictionary]:
    return {side: Dictionary.load(str(data / f"binary/dict.{side}.txt")) for side in (SOURCE, TARGET)}


@cache
def learnt(size: int, data: Path) -> Shortlist | None:
    """What fairseq-lite export --shortlist learns; None for all words."""
    if not size:
        return None
    source, target = (words.symbols for words in dictionaries(data).values())
    pairs = read_pairs(str(data / "binary"), SOURCE, TARGET, (len(source), len(target)))
    return shortlist_of(pairs, size, source, target)


def lite(checkpoint: str, bits: int, size: int, data: Path) -> Translate:
    """An exported graph; pieces go in and come out as numbers, which is not timed apart."""
    session = exported(load_model(checkpoint), TRANSLATION, bits, learnt(size, data))
    words = dictionaries(data)

    def translate(batch: Batch, beam: int) -> Batch:
        length = max(map(len, batch)) + 1
        source = np.full((len(batch), length), words[SOURCE].pad())
        for row, sentence in zip(source, batch):
            # on the right, where a graph expects it
            row[: len(sentence) + 1] = [*map(words[SOURCE].index, sentence), words[SOURCE].eos()]
        found = session.run(["tokens"], {"source": source, "beam": np.array(beam)})[0]
        return [[words[TARGET][i] for i in row if i >= words[TARGET].nspecial] for row in found[:, 0]]

    return translate


def vocabulary_map(shortlist: Shortlist, data: Path) -> str:
    """A shortlist as CTranslate2 reads it: first the words that may always appear, then those of each source word."""
    source, target = (words.symbols for words in dictionaries(data).values())
    rows = [("", shortlist.always), *zip(source, shortlist.of_word)]
    return "".join(f"{word}\t{' '.join(target[number] for number in row)}\n" for word, row in rows)


def stock(checkpoint: str, size: int, data: Path) -> Translate:
    """A Transformer of fairseq's as CTranslate2 converts and quantises it."""
    converter = ctranslate2.converters.FairseqConverter(
        checkpoint, str(data / "binary"), source_lang=SOURCE, target_lang=TARGET
    )
    with tempfile.TemporaryDirectory() as folder, tempfile.NamedTemporaryFile("w", encoding="utf-8") as vmap:
        if size:
            vmap.write(vocabulary_map(learnt(size, data), data))
            vmap.flush()
        converter.convert(folder, vmap=vmap.name if size else None, quantization="int8", force=True)
        model = ctranslate2.Translator(folder, device="cpu", compute_type="int8", inter_threads=1, intra_threads=1)

    def translate(batch: Batch, beam: int) -> Batch:
        results = model.translate_batch(batch, beam_size=beam, max_batch_size=0, use_vmap=size > 0)
        return [result.hypotheses[0] for result in results]

    return translate


def bleu(translations: dict[int, Sequence[str]], references: Sequence[str]) -> float:
    """BLEU of pieces, joined to text, by the number of their sentence."""
    texts = ["".join(pieces).replace("\u2581", " ").strip() for pieces in translations.values()]
    return sacrebleu.corpus_bleu(texts, [[references[number] for number in translations]]).score


def translated(translate: Translate, source: Batch, batches: Sequence[Sequence[int]], beam: int) -> dict[int, list]:
    """The translation of each sentence, by its number."""
    return {
        number: pieces
        for batch in batches
        for number, pieces in zip(batch, translate([source[number] for number in batch], beam))
    }


def compare(sides: dict[str, Translate], data: Path, count: int, rounds: int) -> list[list[str]]:
    """A line of the table for each beam, batch and side."""
    source = [line.split() for line in (data / f"text/test.{SOURCE}").read_text(encoding="utf-8").splitlines()][:count]
    references = (data / f"reference.{TARGET}").read_text(encoding="utf-8").splitlines()
    order = sorted(range(len(source)), key=lambda number: len(source[number]))
    batches = {size: [order[start : start + size] for start in range(0, len(order), size)] for size in BATCHES}
    lines = []
    for beam in BEAMS:
        scores = [bleu(translated(side, source, batches[16], beam), references) for side in sides.values()]
        for size in BATCHES:
            runs = [partial(translated, side, source, batches[size], beam) for side in sides.values()]
            for name, score, seconds in zip(sides, scores, seconds_in_turns(runs, rounds)):
                lines.append([name, f"{score:.2f}", str(beam), str(size), f"{1e3 * seconds / len(order):.2f}"])
    return lines


def sides_of(args: argparse.Namespace) -> dict[str, Translate]:
    """Every model that is compared, by what the table calls it."""
    sides = {}
    for size in args.shortlist:
        words = f", {size} words a word" if size else ""
        for path in args.stock:
            sides[f"{path}, CTranslate2 int8{words}"] = stock(path, size, args.data)
        for path, bits in itertools.product(args.lite, args.bits):
            sides[f"{path}, {bits} bits{words}"] = lite(path, bits, size, args.data)
    return sides


def main() -> None:
    parser = output_parser(__doc__)
    parser.add_argument("data", type=Path, metavar="DATA")
    parser.add_argument("--lite", nargs="+", default=[], metavar="CHECKPOINT", help="exported by fairseq_lite")
    parser.add_argument("--stock", nargs="+", default=[], metavar="CHECKPOINT", help="converted by CTranslate2")
    parser.add_argument("--bits", type=int, nargs="+", default=[8, 4], help="bits a weight of the exported graphs")
    parser.add_argument(
        "--shortlist", type=int, nargs="+", default=[0], metavar="K", help="words a source word, 0: all"
    )
    parser.add_argument("--sentences", type=int, default=1000, help="of the test set, %(default)s if not given")
    parser.add_argument("--rounds", type=int, default=3, help="times that each side runs, %(default)s if not given")
    args = parser.parse_args()
    torch.set_num_threads(1)
    header = ["model", "BLEU", "beam", "batch", "ms a sentence"]
    table = markdown_table(header, compare(sides_of(args), args.data, args.sentences, args.rounds))
    tell(f"{processor()}; processor time, {environment()}, medians of {args.rounds}\n\n{table}", args.output)


if __name__ == "__main__":
    main()
