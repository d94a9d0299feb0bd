"""The table of all that the plugin changes is complete, and what it changes is there as the wrappers expect it."""

import ast
import inspect
import re
from functools import reduce
from importlib import import_module
from pathlib import Path

import pytest

import fairseq_lite
from fairseq_lite.hooks import HOOKS

PACKAGE = Path(fairseq_lite.__file__).parent


@pytest.mark.parametrize("hook", HOOKS, ids=lambda hook: hook.target)
def test_the_target_has_the_parameters_that_the_wrapper_expects(hook):
    module, name = hook.target.split(":")
    target = reduce(getattr, name.split("."), import_module(module))
    if hook.parameters is not None:
        actual = inspect.signature(inspect.unwrap(target)).parameters
        assert [parameter for parameter in actual if parameter in hook.parameters] == list(hook.parameters)


@pytest.mark.parametrize("hook", HOOKS, ids=lambda hook: hook.target)
def test_the_installer_is_documented(hook):
    module, name = hook.installer.split(":")
    assert getattr(import_module(f"fairseq_lite.{module}"), name).__doc__
    assert hook.why and hook.releases


def test_the_page_lists_every_hook():
    page = (PACKAGE.parent / "docs" / "architecture.md").read_text()
    rows = [f"| `{hook.target}` | {hook.why} | {hook.releases} |" for hook in HOOKS]
    assert re.findall(r"^\| `[\w.]+:.*", page, re.M) == rows


def patched(path):
    """Attributes of imported modules and classes that a file assigns to: what it patches."""
    tree = ast.parse(path.read_text())
    imported = {
        (alias.asname or alias.name).split(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, (ast.Import, ast.ImportFrom))
        for alias in node.names
    }
    targets = [target for node in ast.walk(tree) if isinstance(node, ast.Assign) for target in node.targets]
    names = [t.value.id for t in targets if isinstance(t, ast.Attribute) and isinstance(t.value, ast.Name)]
    return [name for name in names if name in imported]


def test_nothing_is_patched_outside_the_table():
    installers = {f"{hook.installer.split(':')[0].replace('.', '/')}.py" for hook in HOOKS}
    for path in PACKAGE.rglob("*.py"):
        if str(path.relative_to(PACKAGE)) not in installers:
            assert not patched(path), path
