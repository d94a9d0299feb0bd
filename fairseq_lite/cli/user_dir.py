import os

import fairseq_lite
from fairseq_lite.cli import no_more_arguments


def add_arguments(parser) -> None:
    pass


def run(args, rest) -> None:
    no_more_arguments(rest)
    print(os.path.dirname(os.path.abspath(fairseq_lite.__file__)))
