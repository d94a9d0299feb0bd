"""fairseq-lite take-layers: a checkpoint of some layers of a larger model."""

from typing import Any, Dict, List

from fairseq_lite.checkpoints import Checkpoint, distinct, read_checkpoint, write_checkpoint
from fairseq_lite.compression.states import Unsealed
from fairseq_lite.errors import UserError, blame_options
from fairseq_lite.models.options import as_namespace
from fairseq_lite.models.taken_layers import take_layers
from fairseq_lite.option_ranges import numbers
from fairseq_lite.output_files import check_output

SIDES = ("encoder", "decoder")


def add_arguments(parser) -> None:
    parser.add_argument("input", metavar="IN", help="checkpoint of a Transformer, a language model or a roberta")
    parser.add_argument("output", metavar="OUT", help="checkpoint to write, for --finetune-from-model")
    for side in SIDES:
        parser.add_argument(
            f"--{side}", metavar="N,N,...", help=f"numbers of the {side}'s layers to take, from 0 (default: all)"
        )


def run(args) -> None:
    layers = _layers(args)
    check_output(args.output, [args.input])
    whole = read_checkpoint(args.input)
    with blame_options():
        part = take_layers(whole, layers, args.input)
    write_checkpoint(part, args.output)
    if isinstance(whole["model"], Unsealed):
        print(f"{args.output} is a plain checkpoint; to make it small as {args.input} was, compress it again")
    sizes = " of ".join(f"{_entries(checkpoint):,}" for checkpoint in (part, whole))
    print(f"took {sizes} numbers of {args.input} into {args.output}")
    flags = " ".join(_flags(whole, part, args.output)) or "the options that it had"
    print(f"train it by --finetune-from-model {args.output} with {flags}")


def _layers(args) -> Dict[str, List[int]]:
    given = {side: getattr(args, side) for side in SIDES if getattr(args, side) is not None}
    if not given:
        raise UserError("--encoder, --decoder: neither is given; name the layers to take, as in --encoder 0,2,4")
    layers = {side: numbers(text) for side, text in given.items()}
    for side, found in layers.items():
        if found is None:
            raise UserError(f"--{side} {given[side]}: must be numbers of layers, as in 0,2,4")
    return layers


def _entries(checkpoint: Checkpoint) -> int:
    return sum(tensor.numel() for tensor in distinct(checkpoint["model"]).values())


def _flags(whole: Checkpoint, part: Checkpoint, output: str) -> List[str]:
    """The options of fairseq-train that the layers taken have changed."""
    before, after = (vars(as_namespace(checkpoint["cfg"]["model"])) for checkpoint in (whole, part))
    changed = {name: value for name, value in after.items() if value is not None and before.get(name) != value}
    if after.get("pruned_widths"):
        changed["pruned_widths"] = output
    return [f"--{name.replace('_', '-')} {_written(value)}" for name, value in changed.items()]


def _written(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)
