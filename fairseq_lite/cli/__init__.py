"""The `fairseq-lite` command: one module a subcommand, with `add_arguments(parser)` and `run(args)`.

A module with TAKES_MODEL_OPTIONS finds what its parser does not know in `args.rest`; for others that is a mistake.
"""

import argparse
import sys
import warnings
from importlib import import_module

from rich.console import Console

from fairseq_lite.errors import MISTAKE, UserError, exit_status
from fairseq_lite.explain import one_line

COMMANDS = {
    "average": "average the weights of checkpoints",
    "choose-sublayers": "find which attention of a model can be linear within a loss of perplexity",
    "compress": "quantise, prune and pack a checkpoint into a small file that fairseq's commands load",
    "convert": "turn a published checkpoint into one that fairseq's commands run with this plugin",
    "decompress": "turn a compressed checkpoint into a plain one",
    "export": "write a checkpoint as a folder that runs without torch and fairseq",
    "latency": "time checkpoints on the CPU, side by side",
    "mult-adds": "count the multiply-adds and the parameters of a model",
    "shrink": "remove the pruned neurons of a checkpoint for good",
    "size": "list the bytes of checkpoints by part of the model",
    "sparsity": "tell which part of each component and layer of a checkpoint is pruned",
    "take-layers": "take some layers of a checkpoint, for a student to start from",
    "user-dir": "print the path for fairseq's --user-dir",
}


class _Parser(argparse.ArgumentParser):
    """Reports a mistake in one line, without the usage."""

    def error(self, message: str):
        self.exit(MISTAKE, f"{self.prog}: error: {message.replace('argument ', '', 1)}; see --help\n")


def main(argv=None) -> int:
    """Run a subcommand; the exit status of a user's mistake is 2, of an interrupt 130, each reported in one line."""
    argv = sys.argv[1:] if argv is None else argv
    # hydra's notes to those who call it, here fairseq, would bury the output.
    warnings.filterwarnings("ignore", category=UserWarning)
    parser = _Parser(prog="fairseq-lite", description="Small and fast sequence models in fairseq.")
    listing = parser.add_subparsers(dest="command", metavar="command", required=True)
    for name, summary in COMMANDS.items():
        listing.add_parser(name, help=summary, add_help=False)
    command = parser.parse_args(argv[:1]).command

    try:
        module = import_module(f"fairseq_lite.cli.{command.replace('-', '_')}")
        subparser = _Parser(prog=f"fairseq-lite {command}", description=COMMANDS[command], allow_abbrev=False)
        module.add_arguments(subparser)
        args, args.rest = subparser.parse_known_args(argv[1:])
        if args.rest and not getattr(module, "TAKES_MODEL_OPTIONS", False):
            raise UserError(f"{' '.join(args.rest)}: unknown argument; see --help")
        module.run(args)
    except (Exception, KeyboardInterrupt) as error:
        return _reported(error, command)
    return 0


def _reported(error: BaseException, command: str) -> int:
    """Print a mistake in one line and return the exit status; raises what is no user's mistake."""
    line = one_line(error)
    if line is None:
        raise error
    print(f"fairseq-lite {command}: error: {line}", file=sys.stderr)
    return exit_status(error)


def console(**options) -> Console:
    """Where tables are printed; brackets in a path are no markup."""
    return Console(markup=False, **options)


def add_length_arguments(parser: argparse.ArgumentParser) -> None:
    """Options for how much a model reads and writes while it is measured."""
    parser.add_argument(
        "--src-len",
        type=int,
        default=30,
        metavar="N",
        help="source tokens, or all of an encoder (default: %(default)s)",
    )
    parser.add_argument(
        "--tgt-len",
        type=int,
        default=30,
        metavar="N",
        help="target tokens, or all tokens of a language model (default: %(default)s)",
    )
