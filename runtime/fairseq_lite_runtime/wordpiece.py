"""BERT's word pieces (Devlin et al., 2019, https://arxiv.org/abs/1810.04805)."""

import re
import unicodedata

UNKNOWN = "<unk>"
LONGEST_WORD = 100
# BERT's special entries are found in text before it is cleaned; fairseq's dictionary has other names for them.
SPECIALS = re.compile(r"(\[(?:UNK|SEP|PAD|CLS|MASK)\])")
# each of these characters is a word
CHINESE = (
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0002a6df"
    "\U0002a700-\U0002b81f\U0002b920-\U0002ceaf\U0002f800-\U0002fa1f"
)


class WordPiece:
    """Splits text as BERT's tokenizer does.

    Args:
        pieces: the dictionary
        lower_case: whether case is lowered and accents are stripped first
    """

    def __init__(self, pieces, lower_case):
        self.pieces = set(pieces)
        self.longest = max(map(len, pieces))
        self.lower_case = lower_case

    def split(self, line):
        found = []
        for part in SPECIALS.split(line):
            if SPECIALS.fullmatch(part):
                found.append(UNKNOWN if part == "[UNK]" else part)
            else:
                for word in self._words(part):
                    found += self._split_word(word)
        return found

    def join(self, pieces):
        return " ".join(pieces).replace(" ##", "")

    def _words(self, text):
        text = "".join(" " if character.isspace() else character for character in text if not _is_dropped(character))
        text = re.sub(f"([{CHINESE}])", r" \1 ", text)
        if self.lower_case:
            text = "".join(c for c in unicodedata.normalize("NFD", text) if unicodedata.category(c) != "Mn")
            text = "".join(character.lower() for character in text)  # one by one: a final sigma is as any
        return "".join(f" {c} " if _is_punctuation(c) else c for c in text).split()

    def _split_word(self, word):
        """The longest piece from the left, again and again (greedy)."""
        if len(word) > LONGEST_WORD:
            return [UNKNOWN]
        found, start = [], 0
        while start < len(word):
            mark = "##" if start else ""
            for end in range(min(len(word), start + self.longest), start, -1):
                if mark + word[start:end] in self.pieces:
                    break
            else:
                return [UNKNOWN]
            found.append(mark + word[start:end])
            start = end
        return found


def _is_dropped(character):
    controls = ("Cc", "Cf", "Co", "Cs")
    return character == "\ufffd" or character not in "\t\n\r" and unicodedata.category(character) in controls


def _is_punctuation(character):
    symbols_of_ascii = "$+<=>^`|~"
    return character in symbols_of_ascii or unicodedata.category(character).startswith("P")
