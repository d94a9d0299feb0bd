"""Users' mistakes end fairseq's commands on one line."""

import os
import sys

from fairseq_lite.errors import exit_status
from fairseq_lite.explain import one_line


def print_in_one_line() -> None:
    """Let fairseq's commands end on one line, without a traceback, where the user made a mistake."""
    if "fairseq_cli" not in sys.modules:
        return  # a program of its own, whose author wants the traceback
    # fairseq-hydra-train prints exceptions itself unless this asks for the interpreter's way
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")
    previous = sys.excepthook

    def excepthook(kind, error, trace):
        line = one_line(error)
        if line is None:
            previous(kind, error, trace)
        else:
            print(f"{os.path.basename(sys.argv[0])}: error: {line}", file=sys.stderr, flush=True)
            # the interpreter takes the exit code of a hook that raises SystemExit
            raise SystemExit(exit_status(error))

    sys.excepthook = excepthook
