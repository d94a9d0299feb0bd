"""Continuing text with a language model."""

from fairseq_lite_runtime.folder import Folder
from fairseq_lite_runtime.search import Search, best_text, check_length
from fairseq_lite_runtime.text import open_texts


class Generator:
    """A language model in an exported folder.

    Args:
        folder: what fairseq-lite export wrote
        threads: of onnxruntime; small models are fastest with one
        batch_size: prompts that are continued together

    Raises FolderError for a folder that cannot be run.

    Examples:
        >>> from fairseq_lite_runtime import Generator
        >>> Generator("generator").generate(["eins zwei"], beam=1)
        ['eins zwei']
    """

    def __init__(self, folder, threads=1, batch_size=16):
        folder = Folder(folder, "language_model")
        (self.text,) = open_texts(folder, "target")
        self.search = Search(folder.session("model.onnx", threads), self.text, folder.config, batch_size)
        self.max_target = folder.config.get("max_target")

    def generate(self, prompts, **options):
        """The best continuation of each prompt, with the prompt; an empty prompt starts from nothing.

        Args:
            prompts: text, which may be empty
            options: fields of SearchOptions; max_len_b counts the prompt too
        """
        return [best_text(hypotheses) for hypotheses in self.hypotheses(prompts, **options)]

    def hypotheses(self, prompts, nbest=1, **options):
        """The nbest hypotheses of each prompt, best first.

        Args:
            prompts: text, which may be empty
            nbest: how many, at most the beam
            options: fields of SearchOptions

        Raises InputError for a prompt that is too long and for an option out of range.
        """
        rows = [{"prefix": self.text.ids(prompt)} for prompt in prompts]
        for number, row in enumerate(rows, 1):
            check_length(number, row["prefix"], self.max_target)
        return self.search.run(rows, nbest, options)
