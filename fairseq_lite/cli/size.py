"""fairseq-lite size: the bytes of checkpoints, by part of the model."""

import json
import os
from typing import Dict, Iterable, List

from rich.table import Table

from fairseq_lite.cli import console
from fairseq_lite.errors import UserError
from fairseq_lite.measure.exported import folder_bytes_by_part, is_exported
from fairseq_lite.measure.sizes import OPTIMIZER, REST, WEIGHTS, bytes_by_part

DICTIONARIES = "dictionaries"


def add_arguments(parser) -> None:
    parser.add_argument(
        "checkpoints",
        nargs="+",
        metavar="CHECKPOINT",
        help="any, or an exported folder; the first is the measure of ratios",
    )
    parser.add_argument(
        "--dict",
        action="append",
        default=[],
        metavar="FILE",
        help="dictionary that the models need, of the folder that fairseq-preprocess made; counts for each of them",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of the table")


def run(args) -> None:
    for path in args.dict:
        if not os.path.isfile(path):
            raise UserError(f"--dict {path}: no such file; give a dict.*.txt that fairseq-preprocess wrote")
    dictionaries = sum(map(os.path.getsize, args.dict))
    sizes = [_size(path, dictionaries) for path in args.checkpoints]
    if args.json:
        print(json.dumps(as_json(args.checkpoints, sizes), indent=2))
    else:
        print_table(args.checkpoints, sizes)


def _size(path: str, dictionaries: int) -> Dict[str, int]:
    """Bytes by part; an exported folder has its dictionaries within."""
    if is_exported(path):
        return {**folder_bytes_by_part(path), DICTIONARIES: 0}
    return {**bytes_by_part(path), DICTIONARIES: dictionaries}


def weights(parts: Dict[str, int]) -> int:
    """Bytes of a model's weights, which ratios compare: without the optimizer's state and the options."""
    return sum(parts[part] for part in WEIGHTS)


def ratio(first: Dict[str, int], parts: Dict[str, int]) -> float:
    """How many times smaller the weights are than the first file's."""
    return weights(first) / max(1, weights(parts))


def as_json(paths: List[str], sizes: List[Dict[str, int]]) -> List[Dict]:
    """An object a checkpoint: bytes by part, of the weights, of the optimizer and of the file with dictionaries."""
    return [
        {
            "checkpoint": path,
            "bytes": parts,
            "weights": weights(parts),
            "optimizer": parts[OPTIMIZER],
            "total": sum(parts.values()),
            "ratio": ratio(sizes[0], parts),
        }
        for path, parts in zip(paths, sizes)
    ]


def print_table(paths: List[str], sizes: List[Dict[str, int]]) -> None:
    """One column a checkpoint, called by what its path has beyond the folder of all, one row a part that any has."""
    folder = os.path.commonpath([os.path.dirname(os.path.abspath(path)) for path in paths])
    table = Table(box=None)
    table.add_column("bytes", no_wrap=True)
    for path in paths:
        table.add_column(os.path.relpath(path, folder), justify="right", no_wrap=True)
    _add_rows(table, WEIGHTS, sizes)
    table.add_section()
    table.add_row("weights", *(f"{weights(parts):,}" for parts in sizes))
    table.add_row("times smaller", *(f"{ratio(sizes[0], parts):.2f}" for parts in sizes))
    table.add_section()
    _add_rows(table, (REST, OPTIMIZER, DICTIONARIES), sizes)
    table.add_row("on disk", *(f"{sum(parts.values()):,}" for parts in sizes))
    # whole numbers, if need be in longer lines than the terminal's
    needed = console(width=1000).measure(table).maximum
    console(width=max(console().width, needed)).print(table)


def _add_rows(table: Table, parts: Iterable[str], sizes: List[Dict[str, int]]) -> None:
    for part in parts:
        if any(size[part] for size in sizes):
            table.add_row(part, *(f"{size[part]:,}" for size in sizes))
