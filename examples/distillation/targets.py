"""What a student learns instead of the references: for each sentence a translation of its teacher's.

    python targets.py best|nearest --references TEXT NBEST... OUT

NBEST is the output of fairseq-generate --nbest for a part of the training set, TEXT the references, a line each; both
in subwords of sentencepiece. `best` takes the most probable translation, `nearest` the one nearest to the reference by
sentence-BLEU: sequence-level distillation and interpolation (Kim & Rush, 2016). A sentence that was not translated, as
one too long for the teacher, keeps its reference.
"""

import argparse
import sys
from collections import defaultdict

from sacrebleu.metrics import BLEU

SENTENCE_BLEU = BLEU(effective_order=True)


def read_lines(path):
    """The lines of a file, as fairseq-preprocess numbers them."""
    with open(path, encoding="utf-8", newline="\n") as lines:
        return [line.rstrip("\n") for line in lines]


def read_nbest(paths):
    """The translations of each sentence by its number, the most probable first."""
    nbest = defaultdict(list)
    for line in (line for path in paths for line in read_lines(path) if line.startswith("H-")):
        number, _, text = line.split("\t", 2)
        nbest[int(number[2:])].append(text)
    return nbest


def words(subwords):
    """The text that subwords of sentencepiece stand for."""
    return subwords.replace(" ", "").replace("▁", " ").strip()


def best(translations, reference):
    return translations[0]


def nearest(translations, reference):
    """The translation of the highest BLEU of words, and of several such the most probable."""
    return max(translations, key=lambda text: SENTENCE_BLEU.sentence_score(words(text), [words(reference)]).score)


PICKS = {"best": best, "nearest": nearest}


def targets(nbest, references, pick):
    """A target for each reference, in order; raises SystemExit for translations of sentences that there are not."""
    if max(nbest, default=-1) >= len(references):
        raise SystemExit(f"--references: has {len(references)} lines and the translations a sentence {max(nbest)}")
    return [
        pick(nbest[number], reference) if number in nbest else reference for number, reference in enumerate(references)
    ]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pick", choices=PICKS)
    parser.add_argument("--references", required=True, metavar="TEXT")
    parser.add_argument("nbest", nargs="+", metavar="NBEST")
    parser.add_argument("out", metavar="OUT")
    args = parser.parse_args()
    nbest, references = read_nbest(args.nbest), read_lines(args.references)
    picked = targets(nbest, references, PICKS[args.pick])
    with open(args.out, "w", encoding="utf-8") as out:
        out.writelines(f"{line}\n" for line in picked)
    print(
        f"{len(references):,} targets, of which {len(references) - len(nbest):,} not translated keep their reference",
        file=sys.stderr,
    )


if __name__ == "__main__":
    main()
