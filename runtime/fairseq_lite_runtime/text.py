"""Text into the ids of a model's dictionary and back."""

from fairseq_lite_runtime.errors import FolderError

MARK = "\u2581"  # sentencepiece's for the start of a word


class Words:
    """Text that comes split at blanks."""

    def split(self, line):
        return line.split()

    def join(self, pieces):
        return " ".join(pieces)


class SentencePiece:
    """A subword model of sentencepiece; model: its file's bytes."""

    def __init__(self, model):
        import sentencepiece

        self.processor = sentencepiece.SentencePieceProcessor(model_proto=model)

    def split(self, line):
        # joined and split as in fairseq, which breaks a piece at a blank within it
        return " ".join(self.processor.encode(line, out_type=str)).split()

    def join(self, pieces):
        return " ".join(pieces).replace(" ", "").replace(MARK, " ").strip()


class Text:
    """One side's text: a way to split it, and the dictionary."""

    def __init__(self, splitter, pieces, config):
        self.splitter = splitter
        self.pieces = pieces
        self.unk = config["unk"]
        self.specials = {config[name] for name in ("bos", "pad", "eos")}
        # a word that is spelt like a special entry must not act as one
        self.numbers = {piece: i for i, piece in enumerate(pieces) if i not in self.specials}

    def ids(self, line):
        """The ids of a line's pieces, without an end."""
        return [self.numbers.get(piece, self.unk) for piece in self.splitter.split(line)]

    def line(self, ids):
        """The text of ids; the special entries but <unk> leave no trace."""
        return self.splitter.join([self.pieces[i] for i in ids if i not in self.specials])


def open_texts(folder, *sides):
    """The Text of each side, "source" or "target"; a file that they share is read once."""
    vocabulary = folder.read_json("vocab.json")
    missing = [side for side in sides if not vocabulary.get(side)]
    if missing:
        raise FolderError(f"{folder.path}/vocab.json: has no {missing[0]} pieces; export again")
    splitters = _splitters(folder, {side: vocabulary[side] for side in sides})
    return [Text(splitters[side], vocabulary[side], folder.config) for side in sides]


def _splitters(folder, pieces):
    kind = folder.config.get("subwords")
    if kind is None:
        return dict.fromkeys(pieces, Words())
    if kind == "wordpiece":
        from fairseq_lite_runtime.wordpiece import WordPiece

        return {side: WordPiece(pieces[side], folder.config["lower_case"]) for side in pieces}
    if kind != "sentencepiece":
        raise FolderError(f"{folder.path}: has subwords {kind!r}, which this fairseq-lite-runtime does not read")
    names = {side: f"{side}.spm" if f"{side}.spm" in folder else "subwords.spm" for side in pieces}
    models = {name: SentencePiece(folder.read(name)) for name in sorted(set(names.values()))}
    return {side: models[name] for side, name in names.items()}
