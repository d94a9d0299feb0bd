"""fairseq-lite mult-adds: the Mult-Adds and parameters of an architecture or a checkpoint."""

import argparse
import json
import re
from collections import defaultdict
from typing import Dict, List, Tuple

import torch.nn as nn
from rich.table import Table

from fairseq_lite.building import SMALL_VOCABULARY, build_architecture
from fairseq_lite.checkpoints import load_model
from fairseq_lite.cli import add_length_arguments, console
from fairseq_lite.errors import UserError, blame_options
from fairseq_lite.measure.inputs import measured_part
from fairseq_lite.measure.mult_adds import MultAdds, count_mult_adds
from fairseq_lite.measure.parameters import count_parameters

TAKES_MODEL_OPTIONS = True
TABLE_DEPTH = 4


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.usage = "%(prog)s (--arch NAME [model options] | CHECKPOINT) [--src-len N] [--tgt-len N] [--json]"
    parser.add_argument(
        "--arch",
        metavar="NAME",
        help="architecture to build; takes the model options of fairseq-train",
    )
    add_length_arguments(parser)
    parser.add_argument(
        "--vocab-size",
        type=int,
        metavar="N",
        help="vocabulary of --arch; it changes the parameters, not the Mult-Adds"
        f" (default: {SMALL_VOCABULARY}, counted from the last adaptive cutoff if there is one)",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of the table")


def run(args: argparse.Namespace) -> None:
    """Counts and prints; `args.rest` holds the model options of --arch or else the checkpoint's path."""
    rest: List[str] = args.rest
    if args.arch is not None:
        model = build_architecture(args.arch, rest, args.vocab_size)
    elif len(rest) == 1 and not rest[0].startswith("-") and args.vocab_size is None:
        model = load_model(rest[0])
    else:
        given = " ".join(rest) or "no arguments"
        raise UserError(f"{given}: give either --arch NAME or the path of one checkpoint (without --vocab-size)")
    try:
        with blame_options():
            counted = count_mult_adds(model, args.src_len, args.tgt_len)
    except UserError as error:
        raise UserError(f"{args.arch or rest[0]}: {error}") from None
    if args.json:
        print(json.dumps(as_json(counted, args.src_len, args.tgt_len), indent=2))
    else:
        print_table(model, counted)


def as_json(counted: MultAdds, src_len: int, tgt_len: int) -> Dict:
    return {
        "mult_adds": counted.total,
        "parameters": counted.parameters,
        "parameters_without_embeddings": counted.parameters_without_embeddings,
        "src_len": src_len,
        "tgt_len": tgt_len,
        "modules": counted.by_module,
    }


def print_table(model: nn.Module, counted: MultAdds) -> None:
    """One row per module that multiplies; the same part of all layers is one row."""
    table = Table("module", box=None)
    for title in ("Mult-Adds", "share", "parameters"):
        table.add_column(title, justify="right")
    for path, modules in _alike(measured_part(model)).items():
        mult_adds = sum(counted.by_module.get(name, 0) for name in modules)
        if mult_adds and len(path) <= TABLE_DEPTH:
            indented = "  " * (len(path) - 1) + path[-1]
            share = f"{mult_adds / counted.total:.1%}"
            table.add_row(
                indented,
                _millions(mult_adds),
                share,
                _millions(count_parameters(*modules.values())),
            )
    table.add_section()
    table.add_row("total", _millions(counted.total), "", _millions(counted.parameters))
    table.add_row("  without embeddings", "", "", _millions(counted.parameters_without_embeddings))
    console().print(table)


def _alike(model: nn.Module) -> Dict[Tuple[str, ...], Dict[str, nn.Module]]:
    """Modules by name, in groups of which only numbers differ: layers.0.fc1 is in layers*.fc1."""
    groups = defaultdict(dict)
    for name, module in model.named_modules():
        if not isinstance(module, nn.ModuleList):
            groups[tuple(re.sub(r"\.\d+", "*", name).split("."))][name] = module
    return groups


def _millions(count: int) -> str:
    return f"{count / 1e6:,.2f} M"
