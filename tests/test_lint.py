"""The code is formatted and free of lint by ruff, and four rooms are free of type errors by mypy (pyproject.toml)."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize(
    "command",
    ["ruff check --no-cache .", "ruff format --check --no-cache .", "mypy --cache-dir {cache}"],
    ids=["check", "format", "types"],
)
def test_clean(command, tmp_path):
    tool, *arguments = command.format(cache=tmp_path).split()
    pytest.importorskip(tool)
    process = subprocess.run([sys.executable, "-m", tool, *arguments], cwd=ROOT, capture_output=True, text=True)
    assert process.returncode == 0, process.stdout + process.stderr
