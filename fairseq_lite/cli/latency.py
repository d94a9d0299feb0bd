"""fairseq-lite latency: milliseconds per sentence of checkpoints on the CPU, measured side by side."""

import argparse
import json
from typing import Dict, List, Optional, Sequence, Union

import torch
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from fairseq_lite.checkpoints import load_model
from fairseq_lite.cli import add_length_arguments, console
from fairseq_lite.errors import UserError, blame_options
from fairseq_lite.measure.exported import ExportedModel, is_exported
from fairseq_lite.measure.inputs import (
    ENCODER,
    ENCODER_DECODER,
    LANGUAGE_MODEL,
    allow_length,
    checked_lengths,
    kind_of,
    measured_part,
)
from fairseq_lite.measure.latency import Latency, measure_latency
from fairseq_lite.measure.timing import environment

# torch aborts the process where the system does not give it as many threads, and takes no larger sizes than 2 ** 63
MOST = {"--rounds": 10**6, "--batch-sizes": 10**6, "--beam": 10**4, "--threads": 1024}
PASSES = {
    ENCODER_DECODER: "generation of {tgt_len} tokens from {src_len} source tokens, beam {beam}",
    LANGUAGE_MODEL: "generation of {tgt_len} tokens, beam {beam}",
    ENCODER: "one forward pass over {src_len} tokens",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "checkpoints",
        nargs="+",
        metavar="CKPT",
        help="checkpoints or exported folders; the first is what others speed up",
    )
    add_length_arguments(parser)
    parser.add_argument(
        "--batch-sizes",
        type=int,
        nargs="+",
        default=[1, 32],
        metavar="N",
        help="sentences in a batch (default: 1 32)",
    )
    parser.add_argument("--beam", type=int, default=1, metavar="N", help="beam of generation (default: greedy)")
    parser.add_argument(
        "--rounds", type=int, default=20, metavar="N", help="times that each is measured (default: %(default)s)"
    )
    parser.add_argument(
        "--threads", type=int, metavar="N", help="threads of torch and of onnxruntime (default: their choice)"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of the table")


def run(args: argparse.Namespace) -> None:
    _check_numbers(args)
    if args.threads is not None:
        torch.set_num_threads(args.threads)
    models = _load_of_one_kind(args)
    # Drawn between the measurements only: a thread that draws would be measured too.
    with Progress(console=Console(stderr=True), auto_refresh=False, transient=True) as progress:
        latencies = measure_latency(
            models, args.batch_sizes, args.src_len, args.tgt_len, args.beam, args.rounds, progress.track
        )
    rows = as_rows(args.checkpoints, latencies)
    timed = PASSES[kind_of(models[0])].format(**vars(args))
    if args.json:
        conditions = {"timed": timed, "rounds": args.rounds, "environment": environment()}
        print(json.dumps({**conditions, "latencies": rows}, indent=2))
    else:
        print_table(rows, f"Milliseconds per sentence: {timed}; {args.rounds} rounds; {environment()}")


def _check_numbers(args: argparse.Namespace) -> None:
    numbers = {"--rounds": [args.rounds], "--batch-sizes": args.batch_sizes, "--beam": [args.beam]}
    if args.threads is not None:
        numbers["--threads"] = [args.threads]
    for option, values in numbers.items():
        for value in values:
            if not 1 <= value <= MOST[option]:
                raise UserError(f"{option} {value}: must be from 1 to {MOST[option]}")


def _load_of_one_kind(args: argparse.Namespace) -> List[Union[torch.nn.Module, ExportedModel]]:
    """The models, if all do the same work."""
    models = [_load(path, args.threads) for path in args.checkpoints]
    for path, model in zip(args.checkpoints, models):
        allow_length(model, args.tgt_len)
        try:
            with blame_options():
                checked_lengths(model, args.src_len, args.tgt_len)
        except UserError as error:
            raise UserError(f"{path}: {error}") from None
        if kind_of(model) != kind_of(models[0]):
            raise UserError(
                f"{path}: is a model of another kind ({kind_of(model)}) than {args.checkpoints[0]} "
                f"({kind_of(models[0])}); measure them apart"
            )
    return models


def _load(path: str, threads: Optional[int]) -> Union[torch.nn.Module, ExportedModel]:
    return ExportedModel(path, threads) if is_exported(path) else measured_part(load_model(path))


def as_rows(checkpoints: Sequence[str], latencies: Dict[int, List[Latency]]) -> List[Dict]:
    return [
        {
            "batch_size": batch_size,
            "checkpoint": path,
            "median_ms": latency.median,
            "p90_ms": latency.p90,
            "speed_up": of_checkpoints[0].median / latency.median,
        }
        for batch_size, of_checkpoints in latencies.items()
        for path, latency in zip(checkpoints, of_checkpoints)
    ]


def print_table(rows: List[Dict], caption: str) -> None:
    """One row per checkpoint, one section per batch size."""
    table = Table(box=None)
    table.add_column("batch", justify="right")
    table.add_column("checkpoint", overflow="fold")
    for title in ("median, ms", "p90, ms", "speed-up"):
        table.add_column(title, justify="right", no_wrap=True)
    for row, following in zip(rows, [*rows[1:], rows[-1]]):
        table.add_row(
            str(row["batch_size"]),
            row["checkpoint"],
            f"{row['median_ms']:.2f}",
            f"{row['p90_ms']:.2f}",
            f"{row['speed_up']:.2f}",
            end_section=row["batch_size"] != following["batch_size"],
        )
    console().print(table)
    console().print(caption, highlight=False)
