"""The rooms and root modules of the package import one way: none imports one that comes later in ORDER."""

import ast
from pathlib import Path

import pytest

import fairseq_lite

PACKAGE = Path(fairseq_lite.__file__).parent
ORDER = (
    "version compat errors archives evaluated_options explain modules option_ranges output_files embedding_files"
    " building checkpoints averaging compression models converters measure export pruning distillation tasks criterions"
    " scoring hooks cli"
).split()


def names(node):
    """What an import statement brings in, as dotted names."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        assert node.level == 0, "imports are absolute here"
        return [f"{node.module}.{alias.name}" for alias in node.names]
    return []


def imported(path):
    """The rooms and root modules of this package that a file imports, in any form."""
    dotted = [name.split(".") for node in ast.walk(ast.parse(path.read_text())) for name in names(node)]
    return {parts[1] for parts in dotted if parts[0] == "fairseq_lite" and len(parts) > 1}


def files(unit):
    return [PACKAGE / f"{unit}.py"] if (PACKAGE / f"{unit}.py").exists() else list((PACKAGE / unit).rglob("*.py"))


def test_every_room_and_root_module_has_its_place():
    units = {path.stem for path in PACKAGE.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}
    assert units - {"__init__"} <= set(ORDER)


@pytest.mark.parametrize("unit", ORDER)
def test_imports_point_one_way(unit):
    later = set(ORDER[ORDER.index(unit) + 1 :])
    for path in files(unit):
        assert not imported(path) & later, path.relative_to(PACKAGE)


def test_only_the_package_itself_imports_the_hooks():
    importers = {unit for unit in ORDER for path in files(unit) if "hooks" in imported(path)}
    assert importers <= {"hooks"}


@pytest.mark.parametrize(
    "line",
    [
        "import fairseq_lite.cli",
        "import fairseq_lite.cli as cli",
        "from fairseq_lite import cli",
        "from fairseq_lite.cli import main",
    ],
)
def test_every_form_of_import_is_seen(tmp_path, line):
    path = tmp_path / "a.py"
    path.write_text(f"def f():\n    {line}\n")
    assert imported(path) == {"cli"}
