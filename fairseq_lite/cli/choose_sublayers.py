"""fairseq-lite choose-sublayers: which attention of a model can be linear within a loss of perplexity."""

import argparse
import json
import math
import sys
from typing import Dict, List, Sequence

from rich.table import Table

from fairseq_lite.checkpoints import read_checkpoint, require_finite
from fairseq_lite.cli import console
from fairseq_lite.errors import UserError, blame_options
from fairseq_lite.measure.decoding import StepCost, check_positions
from fairseq_lite.measure.perplexity import load_for_validation
from fairseq_lite.measure.sublayer_choice import Round, as_option, choose, costs_of, kept_softmax, rise, within
from fairseq_lite.measure.timing import environment
from fairseq_lite.models.sublayers import sublayer_of
from fairseq_lite.modules.attention_transfer import linear_attentions, softmax_in_place

# Beyond what any memory holds.
MOST = {"--max-tokens": 10**9, "--positions": 10**6}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("data", metavar="DATA", help="folder that fairseq-preprocess wrote")
    parser.add_argument(
        "--path",
        required=True,
        metavar="CHECKPOINT",
        help="model after attention transfer: all attention that may be linear is, and all weights but those of"
        " feature maps are the softmax model's",
    )
    parser.add_argument(
        "--most-loss",
        type=float,
        required=True,
        metavar="L",
        help="how much perplexity may rise over that of softmax attention, relative to it: 0.02 is 2 %%",
    )
    parser.add_argument(
        "--valid-subset", default="valid", metavar="NAME", help="subset to score (default: %(default)s)"
    )
    parser.add_argument(
        "--max-tokens", type=int, default=4000, metavar="N", help="tokens in a batch (default: %(default)s)"
    )
    parser.add_argument(
        "--positions",
        type=int,
        default=256,
        metavar="T",
        help="positions at which a step of decoding is measured, of the target and the source (default: %(default)s)",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of the table")


def run(args: argparse.Namespace) -> None:
    _check_numbers(args)
    checkpoint = read_checkpoint(args.path)
    require_finite(checkpoint["model"], args.path)
    with blame_options(subset="--valid-subset"):
        model, validation = load_for_validation(args.path, args.data, args.valid_subset, args.max_tokens)
        names = {sublayer_of(name): name for name in linear_attentions(model)}
        if not names:
            raise UserError(f"{args.path}: has no linear attention to choose from; give a model after the transfer")
        check_positions(model, args.positions)

    def perplexity(linear):
        with softmax_in_place(model, [name for sublayer, name in names.items() if sublayer not in linear]):
            return validation.perplexity(model)

    rounds = choose(list(names), perplexity, args.most_loss, lambda found: _report(found, len(names)))
    costs = costs_of(rounds, names, checkpoint, args.path, args.positions)
    given = getattr(checkpoint["cfg"]["model"], "softmax_sublayers", None)
    option = as_option(kept_softmax(list(names), rounds, args.most_loss), list(names), given)
    rows = as_rows(rounds, costs, args.most_loss)
    if args.json:
        conditions = {"most_loss": args.most_loss, "positions": args.positions, "environment": environment()}
        print(json.dumps({**conditions, "rounds": rows, "softmax_sublayers": option or None}, indent=2))
    else:
        print_table(
            rows,
            f"State and Mult-Adds of attention, time of a whole step, at {args.positions} positions; {environment()}",
        )
        print(f"--softmax-sublayers {option}" if option else "all of it can be linear: leave --softmax-sublayers out")


def _check_numbers(args: argparse.Namespace) -> None:
    if not 0 <= args.most_loss < math.inf:
        raise UserError(f"--most-loss {args.most_loss}: must be a number from 0, such as 0.02")
    for option, value in {"--max-tokens": args.max_tokens, "--positions": args.positions}.items():
        if not 1 <= value <= MOST[option]:
            raise UserError(f"{option} {value}: must be from 1 to {MOST[option]}")


def _report(found: Round, candidates: int) -> None:
    made = f"{found.made_linear} linear" if found.made_linear else "all softmax"
    line = f"{len(found.linear)} of {candidates} linear: {made}, perplexity {found.perplexity:.2f}"
    print(line, file=sys.stderr, flush=True)


def as_rows(rounds: Sequence[Round], costs: Sequence[StepCost], most_loss: float) -> List[Dict]:
    return [
        {
            "round": number,
            "made_linear": str(found.made_linear) if found.made_linear else None,
            "perplexity": found.perplexity,
            "rise": rise(found, rounds),
            "within": within(found, rounds, most_loss),
            **cost._asdict(),
        }
        for number, (found, cost) in enumerate(zip(rounds, costs))
    ]


def print_table(rows: List[Dict], caption: str) -> None:
    """One row a round; the last one may be beyond the loss."""
    table = Table(box=None)
    titles = ("round", "made linear", "perplexity", "rise, %", "state, KB", "Mult-Adds", "ms a token")
    for title in titles:
        table.add_column(title, justify="left" if title == "made linear" else "right", no_wrap=True)
    for row in rows:
        made = row["made_linear"] or "none: all softmax"
        table.add_row(
            str(row["round"]),
            made if row["within"] else f"{made}: too much",
            f"{row['perplexity']:.2f}",
            f"{100 * row['rise']:.2f}",
            f"{row['state_bytes'] / 1000:.1f}",
            f"{row['mult_adds']:,}",
            f"{row['milliseconds']:.2f}",
        )
    console().print(table)
    console().print(caption, highlight=False)
