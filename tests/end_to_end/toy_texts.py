"""Files of text that the guides take for granted."""

import random

from conftest import counting_sentence, sentence_pair

SIZES = {"train": 200, "valid": 10, "test": 10}


def write_parallel_text(folder):
    """Write {train,valid,test}.{de,en}: words, a sentence a line."""
    rng = random.Random(1)
    for split, size in SIZES.items():
        sources, targets = zip(*(sentence_pair(rng) for _ in range(size)))
        (folder / f"{split}.de").write_text("\n".join(sources) + "\n")
        (folder / f"{split}.en").write_text("\n".join(targets).replace("@@ ", "") + "\n")


def write_subwords(folder):
    """Write subwords.model, and text/{train,valid,test}.txt of its pieces; needs sentencepiece."""
    import sentencepiece

    rng = random.Random(2)
    texts = {split: [counting_sentence(rng) for _ in range(size)] for split, size in SIZES.items()}
    (folder / "raw.txt").write_text("\n".join(texts["train"]) + "\n")
    sentencepiece.SentencePieceTrainer.train(
        input=str(folder / "raw.txt"), model_prefix=str(folder / "subwords"), vocab_size=100, hard_vocab_limit=False,
        minloglevel=2,
    )  # fmt: skip
    subwords = sentencepiece.SentencePieceProcessor(model_file=str(folder / "subwords.model"))
    (folder / "text").mkdir()
    for split, sentences in texts.items():
        lines = [" ".join(pieces) for pieces in subwords.encode(sentences, out_type=str)]
        (folder / "text" / f"{split}.txt").write_text("\n".join(lines) + "\n")
