"""Both distributions: their versions, what is in their files, and that they work outside of the checkout."""

import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from importlib.metadata import requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from toys import translation_folder

from fairseq_lite import __version__

ROOT = Path(__file__).parents[1]
PLACES = {"fairseq_lite": ROOT, "fairseq_lite_runtime": ROOT / "runtime"}
# Trains for one update from where it is called, with the plugin by the path that `fairseq-lite user-dir` prints.
TRAIN = """
import sys
from pathlib import Path
import fairseq_lite
from fairseq_cli import preprocess, train

folder, installed = map(Path, sys.argv[1:])
assert installed in Path(fairseq_lite.__file__).parents
(folder / "text").write_text("one two three\\n" * 9)
def run(main, *arguments):
    sys.argv = ["fairseq", *map(str, arguments)]
    main()
run(preprocess.cli_main, "--only-source", "--trainpref", folder / "text", "--validpref", folder / "text",
    "--destdir", folder / "data")
run(train.cli_main, folder / "data", "--user-dir", Path(fairseq_lite.__file__).parent, "--task", "language_modeling",
    "--arch", "lite_transformer_lm_tiny", "--optimizer", "adam", "--max-tokens", "64", "--tokens-per-sample", "8",
    "--max-update", "1", "--num-workers", "0", "--data-buffer-size", "0", "--save-dir", folder / "model")
"""


@pytest.mark.parametrize("line", requires("fairseq-lite"))
def test_versions_are_numbers(line):
    # older releases of pip cannot parse a version after === beside a marker
    assert "===" not in [specifier.operator for specifier in Requirement(line).specifier]


@pytest.mark.parametrize(
    "file, pattern",
    [
        ("runtime/pyproject.toml", r'^version = "(.*)"$'),
        ("CITATION.cff", r"^version: (.*)$"),
        ("CHANGELOG.md", r"^## (\S+)"),
    ],
)
def test_every_file_names_the_same_version(file, pattern):
    assert re.search(pattern, (ROOT / file).read_text(), re.M)[1] == __version__


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The folder of both wheels and both source distributions, made from copies."""
    folder = tmp_path_factory.mktemp("built")
    left_out = shutil.ignore_patterns(".*", "build", "dist", "*.egg-info", "tests", "docs", "examples", "node_modules")
    copies = {name: folder / f"copy_of_{name}" for name in PLACES}
    for name, place in PLACES.items():
        shutil.copytree(place, copies[name], ignore=left_out)
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder)]
    building = [subprocess.Popen([*command, str(copy)], stdout=subprocess.PIPE) for copy in copies.values()]
    for process in building:
        assert process.communicate() and process.returncode == 0
    return folder


@pytest.fixture(scope="module")
def installed(built):
    """A folder with what both wheels install."""
    folder = built / "installed"
    wheels = [str(path) for path in built.glob("*.whl")]
    options = ["--quiet", "--no-deps", "--no-index", "--target", str(folder)]
    subprocess.run([sys.executable, "-m", "pip", "install", *options, *wheels], check=True)
    return folder


def outside(installed, folder, *command):
    """Run a command where the installed packages come first."""
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    process = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, input="one two\n")
    assert process.returncode == 0, process.stderr[-2000:]
    return process.stdout


@pytest.mark.parametrize("name", PLACES)
def test_a_wheel_holds_the_package_and_nothing_else(built, name):
    (wheel,) = built.glob(f"{name}-{__version__}-*.whl")
    packed = {path for path in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in path}
    sources = {str(path.relative_to(PLACES[name])) for path in (PLACES[name] / name).rglob("*.py")}
    assert packed == sources | {f"{name}/py.typed"}


@pytest.mark.parametrize("name", PLACES)
def test_a_source_distribution_has_what_a_wheel_is_made_of(built, name):
    (archive,) = built.glob(f"{name}-{__version__}.tar.gz")
    with tarfile.open(archive) as files:
        packed = {path.partition("/")[2] for path in files.getnames()}
    assert {f"{name}/py.typed", f"{name}/__init__.py", "README.md", "PKG-INFO"} <= packed


def test_an_installed_plugin_trains(installed, tmp_path):
    outside(installed, tmp_path, sys.executable, "-c", TRAIN, str(tmp_path), str(installed))
    assert (tmp_path / "model" / "checkpoint_last.pt").exists()


def test_an_installed_runtime_translates(installed, tmp_path):
    pytest.importorskip("onnxruntime", reason="the official fairseq's Python has none")
    translation_folder(tmp_path / "folder")
    translate = str(installed / "bin" / "fairseq-lite-translate")
    assert outside(installed, tmp_path, translate, "folder") == "eins zwei\n"
