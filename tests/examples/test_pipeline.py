import importlib.util
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "examples" / "pipeline" / "summary.py"


@pytest.fixture(scope="module")
def summary():
    spec = importlib.util.spec_from_file_location("pipeline_summary", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_table_compares_with_the_first_step(summary):
    steps = {
        "fairseq": dict(bytes=2000, tokens=100, seconds=2, memory=4e8, bleu=30.5),
        "folder": dict(bytes=100, tokens=100, seconds=0.1, memory=8e7, bleu=30.25, mult_adds=5_440_000),
    }
    assert summary.table(steps).splitlines()[2:] == [
        "| fairseq | 2,000 | 1.0 |  | 50 | 1.0 | 400 MB | 30.50 | +0.00 |",
        "| folder | 100 | 20.0 | 5.4 M | 1000 | 20.0 | 80 MB | 30.25 | -0.25 |",
    ]
