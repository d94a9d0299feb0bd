"""A first translation from a cold start: seconds from the call to the end of the process, and the most memory it had.

Usage: python benchmarks/cold_start.py COMMAND [COMMAND ...] [--text LINE] [--rounds N] [--output FILE.md]

A COMMAND, in quotes, reads a line of text and writes its translation: "fairseq-lite-translate OUT", or
fairseq-interactive with its options to compare with. All take turns; each turn is a new process. Files are in the
system's cache after the first round, which does not count.
"""

from __future__ import annotations

import argparse
import os
import shlex
import statistics
import subprocess
import time
from pathlib import Path
from typing import NamedTuple


class Start(NamedTuple):
    """One process: seconds by the clock and of the processor; most megabytes resident at a time."""

    wall: float
    process: float
    resident: float


def start(command: str, text: str) -> Start:
    """Translate one line by a new process; raises CalledProcessError where it fails."""
    begin = time.perf_counter()
    process = subprocess.Popen(shlex.split(command), stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    with process.stdin, process.stdout:
        process.stdin.write(f"{text}\n".encode())
        process.stdin.close()
        process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - begin
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    return Start(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024 / 1e6)


def report(rows: list[list[str]], heading: str, output: Path | None) -> None:
    """Print the table, and write it where --output says."""
    # not before: a new process starts with the memory of this one, which timing makes large
    from timing import environment, markdown_table, tell

    header = ["command", "seconds", "of the processor", "resident, MB"]
    tell(f"{environment()}, {heading}\n\n{markdown_table(header, rows)}", output)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("commands", nargs="+", metavar="COMMAND")
    parser.add_argument("--text", default="The battery of the door sensor is low.", metavar="LINE")
    parser.add_argument("--rounds", type=int, default=9, metavar="N")
    parser.add_argument("--output", type=Path, metavar="FILE.md", help="markdown file to write, beside printing")
    args = parser.parse_args()
    rounds = [[start(command, args.text) for command in args.commands] for _ in range(args.rounds + 1)]
    rows = []
    for command, starts in zip(args.commands, zip(*rounds[1:])):
        wall, process, resident = map(statistics.median, zip(*starts))
        rows.append([f"`{' '.join(command.split())}`", f"{wall:.2f}", f"{process:.2f}", f"{resident:.0f}"])
    report(rows, f"medians of {args.rounds}", args.output)


if __name__ == "__main__":
    main()
