import os

import fairseq_lite


def add_arguments(parser) -> None:
    pass


def run(args) -> None:
    print(os.path.dirname(os.path.abspath(fairseq_lite.__file__)))
