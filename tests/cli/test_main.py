"""The `fairseq-lite` command ends on one line and an exit code."""

import pytest

from fairseq_lite import cli
from fairseq_lite.cli import average


@pytest.mark.parametrize(
    "line, message",
    [
        ("compress a b --bits", "fairseq-lite compress: error: --bits: expected one argument; see --help\n"),
        ("average", "fairseq-lite average: error: the following arguments are required"),
        ("compres a b", "fairseq-lite: error: command: invalid choice: 'compres'"),
        ("", "fairseq-lite: error: the following arguments are required: command"),
        ("size missing.pt", "fairseq-lite size: error: missing.pt: no such file"),
        ("size .", "fairseq-lite size: error: .: no exported folder"),
        ("user-dir extra", "fairseq-lite user-dir: error: extra: unknown argument"),
        ("latency b.pt --warm-up 3", "fairseq-lite latency: error: --warm-up 3: unknown argument"),
    ],
)
def test_mistakes(capsys, line, message):
    try:
        status = cli.main(line.split())
    except SystemExit as ended:
        status = ended.code
    error = capsys.readouterr().err
    assert status == 2
    assert error.startswith(message) and error.count("\n") == 1


@pytest.mark.parametrize("error, status", [(KeyboardInterrupt(), 130), (MemoryError(), 2)], ids=["interrupt", "memory"])
def test_what_ends_the_work(monkeypatch, capsys, error, status):
    def run(*args):
        raise error

    monkeypatch.setattr(average, "run", run)
    assert cli.main(["average", "a.pt", "b.pt"]) == status
    assert capsys.readouterr().err.count("\n") == 1


def test_a_bug_keeps_its_traceback(monkeypatch):
    monkeypatch.setattr(average, "run", lambda *args: 1 // 0)
    with pytest.raises(ZeroDivisionError):
        cli.main(["average", "a.pt", "b.pt"])
