"""Bash scripts in the place of programs that take seconds, to test how an example calls them."""

import os
import shlex
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

from example_scripts import EXAMPLES

# fairseq-train leaves a checkpoint behind.
TRAIN = 'while [ "$1" != --save-dir ]; do shift; done; mkdir -p "$2"; echo weights >"$2/checkpoint_last.pt"'


def filled(folder, *names):
    """The folder, with files of these names that are not empty."""
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("words\n")
    return folder


class StandIns:
    """Runs examples with stand-ins for programs; `programs`: by name, what each does in bash. Each notes its calls."""

    def __init__(self, folder, programs):
        self.folder, self._calls = folder, folder / "calls"
        self.folder.mkdir()
        for name, body in programs.items():
            path, note = folder / name, f'echo {name} "${{@@Q}}" >>{shlex.quote(str(self._calls))}'
            path.write_text(f"#!/bin/bash\n{note}\n{body}\n")
            path.chmod(0o755)

    def run(self, script, *arguments, succeeds=True, **environment):
        """The finished process of a script of examples/."""
        path = os.pathsep.join([str(self.folder), str(Path(sys.executable).parent), os.environ["PATH"]])
        process = subprocess.run(
            ["bash", str(EXAMPLES / script), *map(str, arguments)],
            env={**os.environ, "PATH": path, **environment}, capture_output=True, text=True,
        )  # fmt: skip
        assert (process.returncode == 0) == succeeds, process.stderr
        return process

    def calls(self):
        """The arguments of each call since this was last asked for, in lists by the program's name."""
        calls = defaultdict(list)
        for program, *arguments in map(shlex.split, self._calls.read_text().splitlines()):
            calls[program].append(arguments)
        self._calls.write_text("")
        return calls
