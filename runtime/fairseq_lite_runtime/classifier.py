"""Labelling sentences."""

import numpy

from fairseq_lite_runtime.errors import InputError
from fairseq_lite_runtime.folder import Folder
from fairseq_lite_runtime.search import check_length, pad_right
from fairseq_lite_runtime.text import open_texts


class Classifier:
    """A classifier in an exported folder.

    Args:
        folder: what fairseq-lite export wrote
        threads: of onnxruntime
        batch_size: sentences that are labelled together

    Raises FolderError for a folder that cannot be run, InputError for a batch_size < 1.

    Examples:
        >>> from fairseq_lite_runtime import Classifier
        >>> Classifier("classifier").classify(["one two", "one two three one two"])
        ['short', 'long']
    """

    def __init__(self, folder, threads=1, batch_size=32):
        if batch_size < 1:
            raise InputError(f"batch_size {batch_size}: must be at least 1")
        folder = Folder(folder, "classification")
        self.labels = folder.read_json("vocab.json")["labels"]
        (self.text,) = open_texts(folder, "source")
        self.session = folder.session("model.onnx", threads)
        self.config = folder.config
        self.batch_size = batch_size

    def classify(self, lines):
        """The label of each line; an empty line has an empty one."""
        scores = self.log_probabilities(lines)
        return [self.labels[int(row.argmax())] if line.strip() else "" for line, row in zip(lines, scores)]

    def log_probabilities(self, lines):
        """The log-probability of each label, float32: [lines, labels]; raises InputError for a line too long."""
        start = [self.config["bos"]] if self.config["add_bos"] else []
        rows = [[*start, *self.text.ids(line), self.config["eos"]] for line in lines]
        for number, ids in enumerate(rows, 1):
            check_length(number, ids, self.config["max_source"])
        scores = numpy.empty((len(rows), len(self.labels)), numpy.float32)
        order = sorted(range(len(rows)), key=lambda i: len(rows[i]))
        for first in range(0, len(order), self.batch_size):
            batch = order[first : first + self.batch_size]
            source = pad_right([rows[i] for i in batch], self.config["pad"])
            scores[batch] = self.session.run(["scores"], {"source": source})[0]
        return scores
