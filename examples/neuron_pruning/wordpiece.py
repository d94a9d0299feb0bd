"""Splits text into the word pieces of a BERT's vocabulary, one line for a line."""

import argparse

from tokenizers import BertWordPieceTokenizer


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("vocabulary", help="vocab.txt of an uncased BERT")
    parser.add_argument("text")
    parser.add_argument("out")
    args = parser.parse_args()
    tokenizer = BertWordPieceTokenizer(args.vocabulary, lowercase=True)
    with open(args.text, encoding="utf-8", newline="\n") as lines, open(args.out, "w", encoding="utf-8") as out:
        for line in lines:
            pieces = tokenizer.encode(line.rstrip("\n"), add_special_tokens=False).tokens
            # The name that fairseq's dictionary has for it.
            print(" ".join("<unk>" if piece == "[UNK]" else piece for piece in pieces), file=out)


if __name__ == "__main__":
    main()
