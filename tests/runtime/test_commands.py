"""The commands as processes that have neither torch nor fairseq nor fairseq_lite."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import toys

RUNTIME = Path(__file__).parents[2] / "runtime"
BLOCKED = """
import sys
for name in ("torch", "fairseq", "fairseq_lite", "onnx"):
    sys.modules[name] = None
from fairseq_lite_runtime import commands
sys.exit(commands.{command}())
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return toys.translation_folder(tmp_path_factory.mktemp("toy") / "out")


def start(command, *arguments):
    script = BLOCKED.format(command=command)
    return subprocess.Popen(
        [sys.executable, "-c", script, *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        # a shell's background jobs ignore interrupts, and would hand that on
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        env={**os.environ, "PYTHONPATH": str(RUNTIME), "PYTHONIOENCODING": "ascii"},
    )


def run(command, *arguments, stdin=""):
    process = start(command, *arguments)
    out, error = process.communicate(stdin.encode() if isinstance(stdin, str) else stdin, timeout=60)
    return process.returncode, out.decode(), error.decode()


def test_translate_runs_without_torch_and_fairseq(folder):
    text = "one two\n\nthree\ttwo\r\ngrün\u2028one"
    assert run("translate", folder, stdin=text) == (0, "eins zwei\n\ndrei zwei\n<unk> eins\n", "")


def test_nbest_and_scores(folder):
    out = run("translate", folder, "--nbest", 2, "--beam", 2, "--lenpen", "0.5", "--scores", stdin="one\n\n")[1]
    assert out == "0.0000\teins\n-0.5000\teins\n\n\n"


def test_generate_and_classify(tmp_path):
    assert run("generate", toys.language_model_folder(tmp_path / "lm"), stdin="eins\n")[1] == "eins\n"
    folder = toys.classifier_folder(tmp_path / "classes")
    assert run("classify", folder, stdin="one\n\none two three\n")[1] == "short\n\nlong\n"


@pytest.mark.parametrize(
    "arguments, stdin, message",
    [
        (["--beam", "0"], "one\n", "error: --beam 0: must be at least 1"),
        (["--no-repeat-ngram", "-1"], "one\n", "error: --no-repeat-ngram -1: must be at least 0"),
        (["--threads", "0"], "one\n", "error: --threads 0: must be at least 1"),
        (["--batch-size", "1"], "one\n" * 3 + "one " * 20, "error: line 4: has 21 tokens, this model takes 10"),
        ([], b"one\n\xff\n", "standard input is not UTF-8"),
    ],
)
def test_a_mistake_is_told_in_one_line(folder, arguments, stdin, message):
    status, _, error = run("translate", folder, *arguments, stdin=stdin)
    assert status == 2
    assert message in error and error.count("\n") == 1


def test_a_folder_of_another_kind_is_told_in_one_line(folder):
    status, _, error = run("generate", folder)
    assert (status, error.count("\n")) == (2, 1)
    assert "holds a model of the kind translation, not language_model" in error


def test_an_interrupt_ends_in_one_line_with_status_130(folder):
    process = start("translate", folder, "--batch-size", 1)
    process.stdin.write(b"one\n")
    process.stdin.flush()
    assert process.stdout.readline() == b"eins\n"
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=60)[1] == b"fairseq-lite-translate: interrupted\n"
    assert process.returncode == 130


def test_a_reader_that_leaves_ends_it_without_a_word(folder):
    process = start("translate", folder, "--batch-size", 1)
    process.stdout.close()
    process.stdin.write(b"one\n" * 3)
    process.stdin.close()
    assert process.stderr.read() == b""
    assert process.wait(timeout=60) == 141
