"""Text of two toy languages, and files of it that the guides take for granted."""

import random

WORDS = 12
TEST_SENTENCES = 50
SIZES = {"train": 200, "valid": 10, "test": 10}


def source_word(n):
    return f"w{n}"


def target_word(n):
    """Every third word is of two subwords, so that --remove-bpe has something to do."""
    return f"t@@ {n}" if n % 3 == 0 else f"t{n}"


def sentence_pair(rng):
    """A sentence, and its translation: word by word, with each two neighbours swapped."""
    words = [rng.randrange(WORDS) for _ in range(rng.randint(3, 8))]
    swapped = [n for i in range(0, len(words), 2) for n in reversed(words[i : i + 2])]
    return " ".join(map(source_word, words)), " ".join(map(target_word, swapped))


def counting_sentence(rng):
    """Each word follows from the one before."""
    start, length = rng.randrange(WORDS), rng.randint(4, 12)
    return " ".join(source_word((start + 5 * i) % WORDS) for i in range(length))


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
