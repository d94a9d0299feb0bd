"""fairseq-lite average: the mean of checkpoints' weights."""

import os
import re

from fairseq_lite.averaging import average
from fairseq_lite.checkpoints import (
    Checkpoint,
    derived_checkpoint,
    read_checkpoint,
    require_finite,
    shape_mismatches,
    write_checkpoint,
)
from fairseq_lite.errors import UserError
from fairseq_lite.output_files import check_output
from fairseq_lite.pruning.lost_masks import refuse_lost_masks

# In the extra state of a mean: how many checkpoints it is of.
AVERAGED = "averaged"


def add_arguments(parser) -> None:
    parser.add_argument("inputs", nargs="+", metavar="IN", help="checkpoints, or one folder of them with --last")
    parser.add_argument("output", metavar="OUT", help="file to write")
    parser.add_argument(
        "--last", type=int, metavar="N", help="average the last N checkpoints of the folder IN, by epoch, or by update"
    )


def last_checkpoints(folder: str, count: int):
    """Paths of a folder's last `count` checkpoints: those of epochs, else those of updates.

    Raises UserError if there are fewer.
    """
    if not os.path.isdir(folder):
        raise UserError(f"{folder}: not a folder; --last takes the folder that --save-dir named")
    for pattern in (r"checkpoint(\d+)\.pt", r"checkpoint_\d+_(\d+)\.pt"):
        matches = [re.fullmatch(pattern, name) for name in os.listdir(folder)]
        numbered = sorted((int(match[1]), match[0]) for match in matches if match)
        if len(numbered) >= count:
            return [os.path.join(folder, name) for _, name in numbered[-count:]]
    raise UserError(f"--last {count}: {folder} holds fewer checkpoints of epochs or of updates; ask for fewer")


def run(args) -> None:
    paths = args.inputs
    if args.last is not None:
        if args.last < 1 or len(paths) != 1:
            raise UserError(f"--last {args.last}: takes one folder and a number of at least 1")
        paths = last_checkpoints(paths[0], args.last)
    check_output(args.output, paths)
    checkpoints = [_read(path) for path in paths]
    refuse_forgotten_output(args.output, checkpoints[-1])
    states = [checkpoint["model"] for checkpoint in checkpoints]
    mean = average(states, paths)
    refuse_lost_masks(states, paths)
    result = derived_checkpoint(checkpoints[-1], mean)
    result["extra_state"][AVERAGED] = len(paths)
    write_checkpoint(result, args.output)
    many = f"averaged {len(paths)} checkpoints ({paths[0]} ... {paths[-1]})"
    print(f"{many if len(paths) > 1 else 'took the weights of ' + paths[0]} into {args.output}")


def _read(path: str) -> Checkpoint:
    checkpoint = read_checkpoint(path)
    require_finite(checkpoint["model"], path)
    return checkpoint


def refuse_forgotten_output(output: str, last_input: Checkpoint) -> None:
    """Raise UserError where OUT is a checkpoint of the inputs' model but no mean: an input, with OUT left out."""
    if not os.path.exists(output):
        return
    try:
        found = read_checkpoint(output)
    except UserError:
        return
    if AVERAGED not in found["extra_state"] and not shape_mismatches(found["model"], last_input["model"]):
        raise UserError(
            f"{output}: is a checkpoint of the same model, and would be written over; "
            "name the file to write after the inputs, or remove this one"
        )
