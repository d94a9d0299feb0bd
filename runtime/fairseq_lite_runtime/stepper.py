"""Token by token: scoring, sampling and streaming."""

import math

import numpy

from fairseq_lite_runtime.errors import FolderError, InputError
from fairseq_lite_runtime.folder import Folder
from fairseq_lite_runtime.search import check_length, pad_right
from fairseq_lite_runtime.text import open_texts


class Stepper:
    """A language or translation model in a folder that was exported with --step.

    Args:
        folder: what fairseq-lite export wrote
        threads: of onnxruntime

    Raises FolderError for a folder that cannot be run or has no step.onnx.

    Examples:
        >>> from fairseq_lite_runtime import Stepper
        >>> model = Stepper("stepper")
        >>> [len(scores) for scores in model.score(["one two", "three"])]  # the end of the sentence too
        [3, 2]
        >>> text = model.sample(prompt="one", temperature=0.8, top_k=4, seed=1, max_len=8)
        >>> text.startswith("one")
        True
    """

    def __init__(self, folder, threads=1):
        folder = Folder(folder, "translation", "language_model")
        if "step.onnx" not in folder:
            raise FolderError(f"{folder.path}: has no step.onnx; export with --step")
        self.config = folder.config
        if folder.config["kind"] == "translation":
            self.text, self.source = open_texts(folder, "target", "source")
            self.encoder = folder.session("encoder.onnx", threads)
        else:
            (self.text,), self.source, self.encoder = open_texts(folder, "target"), None, None
        self.step = folder.session("step.onnx", threads)
        self.first = self.config["bos" if self.config["add_bos"] else "eos"]

    def score(self, targets, sources=None):
        """The log-probability of each token, the end too: a float32 array for each target.

        Args:
            targets: lines
            sources: for a translation model, a line for each target

        Raises InputError for a line that is too long and for sources that are missing or too many.
        """
        rows = [[*self.text.ids(line), self.config["eos"]] for line in targets]
        for number, ids in enumerate(rows, 1):
            check_length(number, ids, self.config["max_target"])
        if not rows:
            return []
        run = _Run(self, len(rows), sources)
        tokens = pad_right(rows, self.config["pad"])
        before = numpy.concatenate([numpy.full((len(rows), 1), self.first), tokens[:, :-1]], axis=1)
        every = numpy.arange(len(rows))
        scores = numpy.stack([run(before[:, t])[every, tokens[:, t]] for t in range(tokens.shape[1])], axis=1)
        return [row[: len(ids)] for row, ids in zip(scores, rows)]

    def perplexity(self, targets, sources=None):
        """exp of the mean of -log p over all tokens, as fairseq-eval-lm reports it for sentences."""
        scores = numpy.concatenate(self.score(targets, sources)).astype(numpy.float64)
        return math.exp(-scores.mean())

    def sample(self, **options):
        """Text that is drawn; the options are those of `stream`."""
        return "".join(self.stream(**options))

    def stream(self, source=None, prompt="", temperature=1.0, top_k=None, seed=None, max_len=200):
        """Draw text and yield it as it grows, the prompt first.

        Args:
            source: for a translation model, the line to translate
            prompt: words that the text starts with
            temperature: log-probabilities are divided by it; 0 takes the most probable token
            top_k: draw from the k most probable tokens
            seed: of the draws
            max_len: most tokens

        Raises InputError for an option out of range.
        """
        _check_draw(temperature, top_k, max_len)
        ids = self.text.ids(prompt)
        limit = self.config["max_target"]
        check_length(1, ids, limit and limit - 1)
        run, draws = _Run(self, 1, None if source is None else [source]), numpy.random.default_rng(seed)
        scores = [run(numpy.array([token])) for token in [self.first, *ids]][-1]
        written = self.text.line(ids)
        yield written
        while len(ids) < min(max_len, (limit or math.inf) - 1):
            ids.append(self._draw(scores[0], temperature, top_k, draws))
            if ids[-1] == self.config["eos"]:
                return
            text = self.text.line(ids)
            yield text[len(written) :]
            written = text
            scores = run(numpy.array(ids[-1:]))

    def _draw(self, scores, temperature, top_k, draws):
        scores = scores.astype(numpy.float64)
        scores[[self.config["pad"], self.config["bos"]]] = -math.inf
        if temperature == 0:
            return int(scores.argmax())
        if top_k is not None and top_k < len(scores):
            scores[numpy.argpartition(scores, -top_k)[:-top_k]] = -math.inf
        weights = numpy.exp((scores - scores.max()) / temperature)
        return int(draws.choice(len(weights), p=weights / weights.sum()))


class _Run:
    """The states of some rows; a call takes their next tokens int64 [N] and returns log-probabilities [N, V]."""

    def __init__(self, model, rows, sources):
        self.step = model.step
        self.position = 0
        self.names = [output.name for output in model.step.get_outputs()]
        self.states = {
            state["name"]: _empty(state, rows) for state in model.config["states"] if state["per"] != "sentence"
        }
        if (model.encoder is None) != (sources is None):
            raise InputError(f"sources: {'needed by' if model.encoder else 'not read by'} this model")
        if model.encoder is not None:
            self.states.update(_encoded(model, sources, rows))

    def __call__(self, tokens):
        inputs = {"token": tokens, "position": numpy.array(self.position, numpy.int64), **self.states}
        found = dict(zip(self.names, self.step.run(None, inputs)))
        self.states.update({name[: -len("_after")]: value for name, value in found.items() if name != "log_probs"})
        self.position += 1
        return found["log_probs"]


def _encoded(model, sources, rows):
    """The states that are computed once a sentence."""
    if len(sources) != rows:
        raise InputError(f"sources: {len(sources)} lines for {rows} targets")
    ids = [[*model.source.ids(line), model.config["eos"]] for line in sources]
    for number, row in enumerate(ids, 1):
        check_length(number, row, model.config["max_source"])
    names = [output.name for output in model.encoder.get_outputs()]
    return dict(zip(names, model.encoder.run(names, {"source": pad_right(ids, model.config["pad"])})))


def _empty(state, rows):
    """A state before the first step: zeros, and no columns where they grow."""
    sizes = [size if isinstance(size, int) else 0 for size in state["shape"][1:]]
    return numpy.zeros([rows, *sizes], state["dtype"])


def _check_draw(temperature, top_k, max_len):
    if not (0 <= temperature < math.inf):
        raise InputError(f"temperature {temperature}: must be at least 0")
    if top_k is not None and top_k < 1:
        raise InputError(f"top_k {top_k}: must be at least 1")
    if max_len < 1:
        raise InputError(f"max_len {max_len}: must be at least 1")
