import importlib.util
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "examples" / "compression" / "summary.py"


@pytest.fixture(scope="module")
def summary():
    spec = importlib.util.spec_from_file_location("compression_summary", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_table_compares_with_the_first_step(summary, tmp_path):
    path = tmp_path / "chain.tsv"
    path.write_text("Transformer\t2000\t30.5\n4 bits\t100\t30.25\n")
    lines = summary.table(summary.read(path)).splitlines()
    assert lines[2:] == ["| Transformer | 2,000 | 1.0 | 30.50 | +0.00 |", "| 4 bits | 100 | 20.0 | 30.25 | -0.25 |"]


def test_what_is_no_step_is_named(summary, tmp_path):
    path = tmp_path / "chain.tsv"
    path.write_text("Transformer\t2000\n")
    with pytest.raises(SystemExit, match="line 1"):
        summary.read(path)
