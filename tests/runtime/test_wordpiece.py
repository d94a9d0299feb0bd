"""Word pieces in the runtime against BERT's tokenizer in transformers."""

import random

import pytest
from fairseq_lite_runtime.text import Text
from fairseq_lite_runtime.wordpiece import WordPiece
from transformers import BertTokenizer

LETTERS = "abehilnorstux"
BERT = ["[PAD]", "[unused0]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
AWKWARD = [
    "", " ", "\t a\u00a0b\u3000c ", "naïve Ünï e\u0301tre", "don't stop... (now)!", "a-b_c@d#e$f^g`h~i|j<k>l=m+n",
    "北京 is 東京都\U00020000x", "zero\u200bwidth\ufeff \u00adsoft", "nul\x00 \ufffd bell\x07", "x" * 100, "x" * 101,
    "ΣΟΦΟΣ σοφός", "İstanbul ıI", "ﬁne ｆｕｌｌ １２３", "straße STRASSE ẞ", "👍🏽 a🎉b", "नमस्ते हिन्दी", "สวัสดี", "שָׁלוֹם",
    "안녕하세요", "“quotes” — dash–dash…", "1,000.50 %", "##abc # #a", "[unused0] [sep] [ CLS ]", "e\u0301\u0302\u0303",
    "a\u2028b\u2029c\x85d\x1ce", "\U000e0041tag", "½ ² ™ ℃",
]  # fmt: skip


def vocabulary(rng, lower_case):
    """BERT's entries: single letters, some of them no piece, and random pieces."""
    letters = LETTERS if lower_case else LETTERS + LETTERS.upper()
    alphabet = letters + "cdfgjkm.,-'#àβσ京½"
    words = {"".join(rng.choices(letters, k=rng.randint(2, 5))) for _ in range(300)}
    pieces = [*alphabet, *sorted(words)]
    return [*BERT, *pieces, *("##" + piece for piece in pieces)]


def sentences(rng, letters, count):
    for _ in range(count):
        words = ["".join(rng.choices(letters, k=rng.randint(1, 9))) for _ in range(rng.randint(1, 8))]
        yield rng.choice([" ", "  ", ", ", "-"]).join(words)


def converted(vocabulary):
    """The pieces as fairseq-lite convert bert orders them, and of each of BERT's ids the fairseq one."""
    names = {"[CLS]": "<s>", "[PAD]": "<pad>", "[SEP]": "</s>", "[UNK]": "<unk>", "[MASK]": "<mask>"}
    first, last = ["[CLS]", "[PAD]", "[SEP]", "[UNK]"], ["[MASK]"]
    ordered = [*first, *(word for word in vocabulary if word not in first + last), *last]
    number = {word: i for i, word in enumerate(ordered)}
    return [names.get(word, word) for word in ordered], [number[word] for word in vocabulary]


@pytest.mark.parametrize("lower_case", [True, False])
def test_ids_are_those_of_berts_tokenizer(tmp_path, lower_case):
    rng = random.Random(1)
    words = vocabulary(rng, lower_case)
    (tmp_path / "vocab.txt").write_text("\n".join(words) + "\n", encoding="utf-8")
    tokenizer = BertTokenizer(str(tmp_path / "vocab.txt"), do_lower_case=lower_case)
    pieces, number = converted(words)
    text = Text(WordPiece(pieces, lower_case), pieces, {"bos": 0, "pad": 1, "eos": 2, "unk": 3})
    for line in [*AWKWARD, *sentences(rng, LETTERS + LETTERS.upper() + "ÀéΣ京,.½", 1000)]:
        theirs = tokenizer(line, add_special_tokens=False)["input_ids"]
        assert text.ids(line) == [number[i] for i in theirs], ascii(line)


def test_text_spelt_like_a_special_entry_is_one_unknown_word():
    pieces = ["<s>", "<pad>", "</s>", "<unk>", "a", "##a", "[", "]", "sep", "<mask>"]
    text = Text(WordPiece(pieces, True), pieces, {"bos": 0, "pad": 1, "eos": 2, "unk": 3})
    assert text.ids("a[SEP]aa [sep] </s>") == [4, 3, 4, 5, 6, 8, 7, 3, 3, 3, 3]
