"""What the pages name is there: files, subcommands of fairseq-lite, and options."""

import argparse
import csv
import re
from functools import cache
from pathlib import Path

import pytest
from fairseq import options
from fairseq.dataclass.utils import gen_parser_from_dataclass
from fairseq.models import MODEL_REGISTRY
from fairseq.registry import REGISTRIES
from fairseq.tasks import TASK_REGISTRY

from fairseq_lite.cli import COMMANDS

ROOT = Path(__file__).parents[1]
PAGES = sorted(
    page
    for pattern in ("*.md", "docs/**/*.md", "examples/**/*.md", "runtime/**/*.md")
    for page in ROOT.glob(pattern)
    if "node_modules" not in page.parts
)
FOLDERS = "fairseq_lite|examples|docs|benchmarks|tests|scripts|runtime"
# Options of programs that are neither fairseq's nor in this repository: pip, npm, hydra and the like.
FOREIGN = {"--no-build-isolation", "--no-deps", "--tokenize", "--config-dir", "--config-name", "--paired-bs"}
# What the examples write.
OUTPUTS = r"examples/\w+/(work|data|model)\b"
SOURCES = ("fairseq_lite/**/*.py", "examples/**/*.py", "examples/**/*.sh", "benchmarks/*.py", "runtime/**/*.py")
# Not of `--reset-...`, which stands for several.
OPTION = r"(?<![\w-])--[a-z][\w-]*\w(?![\w-]*\.\.\.)(?!\w)"
pages = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


def code(text):
    """The code of a page, spans and blocks, one piece a line; a command that goes on stays one."""
    text = re.sub(r"\\\n\s*", " ", text)
    blocks = re.findall(r"^(?: {4}|\t)(.*)$", text, re.M)
    fenced = [line for block in re.findall(r"```\w*\n(.*?)```", text, re.S) for line in block.splitlines()]
    return [*blocks, *fenced, *re.findall(r"`([^`\n]+)`", text)]


@pages
def test_links_lead_to_files(page):
    targets = re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text())
    missing = [t for t in targets if not t.startswith(("http", "mailto:")) and not (page.parent / t).exists()]
    assert not missing


def test_the_chart_of_readme_shows_the_figures_of_the_benchmarks():
    rows = [line.strip("| ").split(" | ") for line in (ROOT / "docs" / "benchmarks.md").read_text().splitlines()]
    with open(ROOT / "docs" / "benchmarks" / "result.csv", newline="") as file:
        for row in csv.DictReader(file):
            name, *figures = row.values()
            assert any(cells[0] == name and cells[1 : 1 + len(figures)] == figures for cells in rows), row


@pages
def test_paths_exist(page):
    pattern = rf"(?<![\w/.$-])((?:{FOLDERS})/[\w./-]*\w)"
    named = {path for piece in code(page.read_text()) for path in re.findall(pattern, piece)}
    missing = [path for path in named if not (ROOT / path).exists() and not (page.parent / path).exists()]
    assert not [path for path in missing if not re.match(OUTPUTS, path)]


@pages
def test_subcommands_exist(page):
    named = {name for piece in code(page.read_text()) for name in re.findall(r"fairseq-lite ([a-z][a-z-]*)", piece)}
    assert named - {"command"} <= set(COMMANDS)


class _Quiet(argparse.ArgumentParser):
    """Collects options, one that is declared twice as the later one."""

    def __init__(self):
        super().__init__(conflict_handler="resolve")


def _declared(parser):
    return set(parser._option_string_actions)


@cache
def known_options():
    """All options of fairseq's commands, of every model, task and criterion, and of fairseq-lite."""
    known = set(FOREIGN)
    for make in ("training", "generation", "preprocessing", "eval_lm", "validation", "interactive_generation"):
        known |= _declared(getattr(options, f"get_{make}_parser")())
    registries = [MODEL_REGISTRY, TASK_REGISTRY, *(registry["registry"] for registry in REGISTRIES.values())]
    for cls in (cls for registry in registries for cls in registry.values()):
        parser = _Quiet()
        if hasattr(cls, "add_args"):
            cls.add_args(parser)
        elif getattr(cls, "__dataclass", None):
            gen_parser_from_dataclass(parser, getattr(cls, "__dataclass")())
        known |= _declared(parser)
    return known


@cache
def sources():
    return "\n".join(path.read_text() for pattern in SOURCES for path in ROOT.glob(pattern) if path.is_file())


def is_declared(option):
    """Whether a program of this repository has the option: as text, in a shell's case, or as a dataclass's field."""
    field = option[2:].replace("-", "_")
    return any(form in sources() for form in (f'"{option}', f"{option})", f"\n    {field}: "))


@pages
def test_options_exist(page):
    named = {option for piece in code(page.read_text()) for option in re.findall(OPTION, piece)}
    assert not [option for option in sorted(named - known_options()) if not is_declared(option)]
