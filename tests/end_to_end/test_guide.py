"""The guide from data to an exported model runs as it is printed."""

import os
import random
import re
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import command_line, sentence_pair, tail
from processes import run_script

pytest.importorskip("onnxruntime", reason="the official fairseq's Python has none")

GUIDE = Path(__file__).parents[2] / "docs" / "guides" / "small_transformer.md"
BLOCK = re.compile(r"^```bash\n(.*?)^```|((?:^ {4}[^\n]*\n)+)", re.M | re.S)
# A command of fairseq's or of fairseq-lite's, without a pipe: started from a process that has imported torch.
HEAVY = re.compile(r"(fairseq-[a-z-]+) [^|]*$")
# A loader's process takes time to end, and the thread that fills a buffer can abort a training that ends in an epoch.
ADDED = {"fairseq-train": ["--num-workers=0", "--data-buffer-size=0"], "fairseq-generate": ["--num-workers=0"]}


def commands():
    """The commands of the guide: each line of an indented block, and each fenced block as a whole."""
    for fenced, indented in BLOCK.findall(GUIDE.read_text()):
        lines = re.sub(r"\\\n\s*", "", re.sub("^ {4}", "", indented, flags=re.M)).splitlines()
        yield from [fenced] if fenced else lines


def bash(command, folder):
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = {**os.environ, "PATH": path, "UPDATES": "8"}
    return subprocess.run(["bash", "-c", command], cwd=folder, env=environment, capture_output=True, text=True)


@pytest.fixture
def folder(tmp_path):
    """A folder with six files of text."""
    rng = random.Random(1)
    for split, size in (("train", 200), ("valid", 10), ("test", 10)):
        sources, targets = zip(*(sentence_pair(rng) for _ in range(size)))
        (tmp_path / f"{split}.de").write_text("\n".join(sources) + "\n")
        (tmp_path / f"{split}.en").write_text("\n".join(targets).replace("@@ ", "") + "\n")
    return tmp_path


def test_every_command_of_the_guide_runs_and_the_last_one_translates(folder, plugin):
    for command in commands():
        if heavy := HEAVY.match(command):
            arguments = bash(f"printf '%s\\n' {command}", folder).stdout.splitlines()[1:]
            arguments = [plugin if argument == "fairseq_lite" else argument for argument in arguments]
            process = run_script(command_line(heavy[1]), [*arguments, *ADDED.get(heavy[1], [])], folder)
        else:
            process = bash(command, folder)
        assert process.returncode == 0, f"{command}:\n{tail(process.stderr)}"
    assert len(process.stdout.splitlines()) == 2
