import pytest
from example_scripts import example


@pytest.fixture(scope="module")
def summary():
    return example("compression/summary.py")


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
