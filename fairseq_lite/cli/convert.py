import os
from typing import Tuple

from fairseq_lite.checkpoints import Checkpoint, distinct, write_checkpoint
from fairseq_lite.converters import CONVERTERS, FOLDER_CONVERTERS
from fairseq_lite.errors import UserError
from fairseq_lite.output_files import check_output, write_atomically


def add_arguments(parser) -> None:
    formats = sorted([*CONVERTERS, *FOLDER_CONVERTERS])
    parser.add_argument("format", choices=formats, help="whose format the input has")
    parser.add_argument("input", metavar="IN", help="published checkpoint; for bert, a folder of transformers")
    parser.add_argument(
        "output", metavar="OUT", help="checkpoint to write; for bert, a folder for model.pt and dict.txt"
    )


def run(args) -> None:
    if args.format in FOLDER_CONVERTERS:
        _check_folder(args.output, args.input)
    else:
        check_output(args.output, [args.input])
    convert = _convert_folder if args.format in FOLDER_CONVERTERS else _convert_file
    output, checkpoint = convert(args.format, args.input, args.output)
    numbers = sum(tensor.numel() for tensor in distinct(checkpoint["model"]).values())
    name = checkpoint["cfg"]["model"]._name
    print(f"converted {args.input} into {output}: {name}, {numbers:,} numbers")


def _check_folder(output: str, source: str) -> None:
    """Raise UserError where the files of a model cannot be written into a folder, which may be a new one."""
    if os.path.exists(output) and not os.path.isdir(output):
        raise UserError(f"{output}: is a file; name a folder, for model.pt and dict.txt")
    if not os.path.isdir(output):
        return check_output(output.rstrip(os.sep))
    for name in ("model.pt", "dict.txt", "dict.label.txt"):
        check_output(os.path.join(output, name), [os.path.join(source, name)])


def _convert_file(format: str, source: str, output: str) -> Tuple[str, Checkpoint]:
    checkpoint = CONVERTERS[format](source)
    write_checkpoint(checkpoint, output)
    return output, checkpoint


def _convert_folder(format: str, source: str, output: str) -> Tuple[str, Checkpoint]:
    checkpoint, dictionaries = FOLDER_CONVERTERS[format](source)
    os.makedirs(output, exist_ok=True)
    path = os.path.join(output, "model.pt")
    for name, dictionary in dictionaries.items():
        with write_atomically(os.path.join(output, name), text=True) as file:
            dictionary.save(file)
    write_checkpoint(checkpoint, path)
    return path, checkpoint
