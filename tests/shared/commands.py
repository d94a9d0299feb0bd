"""fairseq's commands in this process."""

import sys


def call(command, arguments):
    """Run a command's main function with a line of arguments."""
    before, sys.argv = sys.argv, ["fairseq", *arguments.split()]
    try:
        command()
    finally:
        sys.argv = before
