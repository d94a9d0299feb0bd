"""The layers of the package import one way: those of LAYERS import none that comes later."""

import ast
from pathlib import Path

import fairseq_lite

PACKAGE = Path(fairseq_lite.__file__).parent
LAYERS = "modules models compression measure pruning converters tasks criterions export cli".split()


def imported_layers(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("fairseq_lite."):
            yield node.module.split(".")[1]


def test_layers_import_one_way():
    for rank, layer in enumerate(LAYERS):
        for path in (PACKAGE / layer).rglob("*.py"):
            above = set(imported_layers(path)) & set(LAYERS[rank + 1 :])
            assert not above, f"{path.relative_to(PACKAGE)} imports {above}"
