"""Console scripts as processes of their own, forked from one that has imported what takes fairseq longest to import."""

import multiprocessing
import os
import runpy
import subprocess
import sys
from multiprocessing import forkserver
from pathlib import Path

import pytest

# read when torch is imported
os.environ.setdefault("OMP_NUM_THREADS", "1")
_forkserver = multiprocessing.get_context("forkserver")
# None of these is of the plugin, which a command loads itself, or sets up logging. Optimizers import torch._dynamo.
_PRELOADED = "torch scipy.stats sklearn.metrics sacrebleu fairseq fairseq.trainer torch._dynamo torch.distributed.fsdp"
_forkserver.set_forkserver_preload([*_PRELOADED.split(), "before_forks"])


def command_line(command):
    """The path of a console script installed beside this Python."""
    script = Path(sys.executable).with_name(command)
    assert script.exists(), f"{command} is not installed beside {sys.executable}"
    return str(script)


def tail(text, lines=15):
    return "\n".join(text.splitlines()[-lines:])


def _start_server():
    """Start the process that is forked, whose Python ignores sys.path: it finds before_forks by PYTHONPATH."""
    paths = [str(Path(__file__).parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join(paths))
        forkserver.ensure_running()


def run_script(script, arguments, directory, stdin="", timeout=300, environment=()):
    """The finished process of a Python script; directory: where it runs and what it prints is kept.

    Raises subprocess.TimeoutExpired after `timeout` seconds.
    """
    streams = [directory / name for name in ("stdin", "stdout", "stderr")]
    streams[0].write_text(stdin)
    command = [str(script), *map(str, arguments)]
    _start_server()
    environment = {**os.environ, **dict(environment)}
    process = _forkserver.Process(target=_become, args=(command, directory, streams, environment))
    process.start()
    process.join(timeout)
    if process.exitcode is None:
        process.kill()
        raise subprocess.TimeoutExpired(command, timeout)
    return subprocess.CompletedProcess(command, process.exitcode, *(path.read_text() for path in streams[1:]))


def _become(command, directory, streams, environment):
    """Run the script in this process."""
    for number, (path, mode) in enumerate(zip(streams, "rww")):
        with open(path, mode) as file:
            os.dup2(file.fileno(), number)
    sys.stdin, sys.stdout, sys.stderr = (os.fdopen(number, mode, closefd=False) for number, mode in enumerate("rww"))
    os.chdir(directory)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = command
    try:
        runpy.run_path(command[0], run_name="__main__")
    except Exception:
        # as an interpreter does; multiprocessing prints a traceback of its own instead
        sys.excepthook(*sys.exc_info())
        sys.exit(1)
