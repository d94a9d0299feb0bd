"""Translating lines of text."""

from fairseq_lite_runtime.folder import Folder
from fairseq_lite_runtime.search import Search, best_text, check_length
from fairseq_lite_runtime.text import open_texts


class Translator:
    """A translation model in an exported folder.

    Args:
        folder: what fairseq-lite export wrote
        threads: of onnxruntime; small models are fastest with one
        batch_size: sentences that are translated together

    Raises FolderError for a folder that cannot be run.

    Examples:
        >>> from fairseq_lite_runtime import Translator
        >>> Translator("translator").translate(["one two"], beam=4)
        ['eins zwei']
    """

    def __init__(self, folder, threads=1, batch_size=16):
        folder = Folder(folder, "translation")
        self.source, self.target = open_texts(folder, "source", "target")
        self.search = Search(folder.session("model.onnx", threads), self.target, folder.config, batch_size)
        self.eos = folder.config["eos"]
        self.max_source = folder.config.get("max_source")

    def translate(self, lines, **options):
        """The best translation of each line; an empty line stays empty.

        Args:
            lines: text, a sentence each
            options: fields of SearchOptions: beam, lenpen, min_len and others
        """
        return [best_text(hypotheses) for hypotheses in self.hypotheses(lines, **options)]

    def hypotheses(self, lines, nbest=1, prefixes=None, **options):
        """The nbest hypotheses of each line, best first; none for an empty line.

        Args:
            lines: text, a sentence each
            nbest: how many, at most the beam
            prefixes: for each line the words that its translation starts with
            options: fields of SearchOptions

        Raises InputError for a line that is too long and for an option out of range.
        """
        sources = [self.source.ids(line) for line in lines]
        rows = {i: {"source": [*ids, self.eos]} for i, ids in enumerate(sources) if ids}
        for i, row in rows.items():
            check_length(i + 1, row["source"], self.max_source)
            if prefixes is not None:
                row["prefix"] = self.target.ids(prefixes[i])
        found = dict(zip(rows, self.search.run(list(rows.values()), nbest, options)))
        return [found.get(i, []) for i in range(len(sources))]
