"""Learns a joint subword model and encodes text with it (sentencepiece, unigram)."""

import argparse
import io

import sentencepiece


def learn(texts, vocab_size, out):
    """Learns one model over all ``texts`` (paths) and writes it to ``out``.

    The text is left as it is (no Unicode normalisation), so that decoding gives back the very string
    that BLEU is measured on.
    """
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        input=list(texts),
        vocab_size=vocab_size,
        model_writer=model,
        character_coverage=1.0,
        normalization_rule_name="identity",
        minloglevel=2,
    )
    with open(out, "wb") as file:
        file.write(model.getvalue())


def encode(model, text, out):
    """Writes the lines of ``text`` as subwords joined by blanks, one line for a line."""
    processor = sentencepiece.SentencePieceProcessor(model_file=model)
    with open(text, encoding="utf-8", newline="\n") as lines, open(out, "w", encoding="utf-8") as encoded:
        for line in lines:
            print(" ".join(processor.encode(line.rstrip("\n"), out_type=str)), file=encoded)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    learner = commands.add_parser("learn")
    learner.add_argument("--vocab-size", type=int, required=True)
    learner.add_argument("texts", nargs="+")
    learner.add_argument("out")
    encoder = commands.add_parser("encode")
    encoder.add_argument("model")
    encoder.add_argument("text")
    encoder.add_argument("out")
    arguments = vars(parser.parse_args())
    {"learn": learn, "encode": encode}[arguments.pop("command")](**arguments)


if __name__ == "__main__":
    main()
