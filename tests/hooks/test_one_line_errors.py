"""How fairseq's commands end on an exception: what the interpreter is asked to do with it."""

import os
import sys
from types import ModuleType

import pytest

from fairseq_lite.errors import UserError
from fairseq_lite.hooks.one_line_errors import print_in_one_line


@pytest.fixture
def command(monkeypatch):
    """The hook of a command, fairseq-train, that would else print a traceback."""
    monkeypatch.setitem(sys.modules, "fairseq_cli", ModuleType("fairseq_cli"))
    monkeypatch.setattr(sys, "argv", ["/bin/fairseq-train"])
    monkeypatch.setenv("HYDRA_FULL_ERROR", "")
    monkeypatch.delenv("HYDRA_FULL_ERROR")
    monkeypatch.setattr(sys, "excepthook", lambda kind, error, trace: print("traceback", file=sys.stderr))
    print_in_one_line()
    return lambda error: sys.excepthook(type(error), error, None)


@pytest.mark.parametrize(
    "error, status, line",
    [
        (UserError("--lr x: must be a number"), 2, "fairseq-train: error: --lr x: must be a number\n"),
        (KeyboardInterrupt(), 130, "fairseq-train: error: interrupted\n"),
    ],
    ids=["mistake", "interrupt"],
)
def test_a_mistake_is_one_line_and_an_exit_code(command, capsys, error, status, line):
    with pytest.raises(SystemExit) as ended:
        command(error)
    assert ended.value.code == status
    assert capsys.readouterr().err == line


def test_a_bug_keeps_its_traceback(command, capsys):
    command(ZeroDivisionError())
    assert capsys.readouterr().err == "traceback\n"


def test_hydra_leaves_exceptions_to_the_interpreter(command):
    assert os.environ["HYDRA_FULL_ERROR"] == "1"
