"""The notebook is stored without outputs, runs from its first cell to its last, and its exported model translates."""

import json
import os
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NOTEBOOK = ROOT / "examples" / "notebook.ipynb"
PICTURES = 3


def code_cells(notebook):
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def test_the_stored_notebook_has_no_outputs():
    cells = code_cells(json.loads(NOTEBOOK.read_text(encoding="utf-8")))
    assert not [cell["id"] for cell in cells if cell["outputs"] or cell["execution_count"] or cell["metadata"]]


@pytest.fixture
def executed(tmp_path, monkeypatch):
    """The cells of code after a run, of which all files went to a folder of the test."""
    nbclient = pytest.importorskip("nbclient", reason="the extra notebook is not installed")
    nbformat = pytest.importorskip("nbformat")
    # the plugin of the checkout
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]))
    for name in ("TMPDIR", "IPYTHONDIR"):
        monkeypatch.setenv(name, str(tmp_path))
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbclient.NotebookClient(notebook, timeout=600, kernel_name="python3").execute()
    return code_cells(notebook)


def test_every_cell_runs_and_the_exported_model_has_learnt(executed):
    outputs = [output for cell in executed for output in cell["outputs"]]
    assert sum("image/png" in output.get("data", {}) for output in outputs) == PICTURES
    right, whole = map(int, re.match(r"(\d+) of (\d+) sentences", outputs[-1]["text"]).groups())
    assert right > whole / 2
