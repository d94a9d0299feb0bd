"""The commands: lines from standard input, a line out for each."""

import argparse
import dataclasses
import io
import itertools
import math
import os
import sys

INTERRUPTED, BROKEN_PIPE, MISTAKE = 130, 141, 2
# Batches that are read ahead, so that lines of like length meet; at a terminal each line is answered at once.
AHEAD = 64


def translate(argv=None):
    """fairseq-lite-translate."""
    return _main("fairseq-lite-translate", "Translate lines of text.", "Translator", argv)


def generate(argv=None):
    """fairseq-lite-generate."""
    return _main("fairseq-lite-generate", "Continue lines of text with a language model.", "Generator", argv)


def classify(argv=None):
    """fairseq-lite-classify."""
    return _main("fairseq-lite-classify", "Label lines of text.", "Classifier", argv)


def _main(program, summary, runner, argv):
    """The exit status; a mistake, an interrupt and a reader that left end in one line at most."""
    try:
        parser = _parser(program, summary, runner)
        _run(parser.parse_args(argv), runner)
    except KeyboardInterrupt:
        print(f"{program}: interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        # or Python complains once more when it flushes at its end
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
    except ValueError as error:
        if not _is_mistake(error):
            raise
        print(f"{program}: error: {error}", file=sys.stderr)
        return MISTAKE
    return 0


def _is_mistake(error):
    from fairseq_lite_runtime.errors import FolderError, InputError

    return isinstance(error, (FolderError, InputError))


def _parser(program, summary, runner):
    parser = argparse.ArgumentParser(prog=program, description=f"{summary} One line out for one line in.")
    parser.add_argument("folder", metavar="FOLDER", help="what fairseq-lite export wrote")
    parser.add_argument("--threads", type=int, default=1, metavar="N", help="of onnxruntime (default: %(default)s)")
    parser.add_argument("--batch-size", type=int, default=16, metavar="N", help="lines together (default: %(default)s)")
    if runner == "Classifier":
        parser.add_argument("--scores", action="store_true", help="print the probability of the label and a tab first")
        return parser
    parser.add_argument("--nbest", type=int, default=1, metavar="N", help="lines out for one in (default: %(default)s)")
    parser.add_argument("--scores", action="store_true", help="print each line's score and a tab first")
    for name, field in _search_fields().items():
        kind = float if "float" in str(field.type) else int
        parser.add_argument(_flag(name), type=kind, metavar=kind.__name__[0].upper(), help=field.metadata["help"])
    return parser


def _search_fields():
    from fairseq_lite_runtime.options import SearchOptions

    return {field.name: field for field in dataclasses.fields(SearchOptions)}


def _flag(name):
    return "--" + name.replace("_", "-")


def _run(args, runner):
    import fairseq_lite_runtime
    from fairseq_lite_runtime.errors import InputError

    for name in ("threads", "batch_size"):
        if getattr(args, name) < 1:
            raise InputError(f"{_flag(name)} {getattr(args, name)}: must be at least 1")
    model = getattr(fairseq_lite_runtime, runner)(args.folder, args.threads, args.batch_size)
    answer = _labels if runner == "Classifier" else _hypotheses
    ahead = args.batch_size if sys.stdin.isatty() or args.batch_size == 1 else args.batch_size * AHEAD
    done = 0
    for lines in _windows(1 if sys.stdin.isatty() else ahead):
        try:
            out = list(answer(model, lines, args))
        except InputError as error:
            raise InputError(_in_command(str(error), done)) from None
        sys.stdout.buffer.write("".join(f"{line}\n" for line in out).encode())
        sys.stdout.buffer.flush()
        done += len(lines)


def _in_command(message, done):
    """A library's message as the command's: arguments as flags, lines counted from the first one read."""
    subject, rest = message.split(" ", 1)
    if subject == "line":
        number, rest = rest.split(":", 1)
        return f"line {done + int(number)}:{rest}"
    return f"{_flag(subject)} {rest}"


def _windows(size):
    """Lists of lines from standard input."""
    from fairseq_lite_runtime.errors import InputError

    lines = io.TextIOWrapper(sys.stdin.buffer, encoding="utf-8", newline="\n")
    done = 0
    while True:
        try:
            window = [line.rstrip("\r\n") for line in itertools.islice(lines, size)]
        except UnicodeDecodeError:
            raise InputError(f"line {done + 1} or later: standard input is not UTF-8") from None
        if not window:
            return
        done += len(window)
        yield window


def _hypotheses(model, lines, args):
    options = {name: getattr(args, name) for name in _search_fields()}
    for hypotheses in model.hypotheses(lines, args.nbest, **options):
        found = [f"{each.score:.4f}\t{each.text}" if args.scores else each.text for each in hypotheses]
        yield from found + [""] * (args.nbest - len(found))


def _labels(model, lines, args):
    for line, scores in zip(lines, model.log_probabilities(lines)):
        label = int(scores.argmax())
        probability = f"{math.exp(scores[label]):.4f}\t" if args.scores else ""
        yield probability + model.labels[label] if line.strip() else ""
