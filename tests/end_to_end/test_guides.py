"""The guides run as they are printed, block by block, in a folder with toy data."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Callable, Dict, NamedTuple

import pytest
from processes import command_line, run_script, tail
from toy_bert import FFN, HEADS, WIDTH, write_bert, write_sentences
from toy_texts import TEST_SENTENCES, write_parallel_text, write_subwords

pytest.importorskip("onnxruntime", reason="the official fairseq's Python has none")

DOCS = Path(__file__).parents[2] / "docs"
# A block of a fence, with its language, or an indented one.
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```|((?:^ {4}[^\n]*\n)+)", re.M | re.S)
# Of the toy BERT: `fairseq-lite shrink` counts the Mult-Adds of 30 tokens.
POSITIONS = 32
# A command of fairseq's or of fairseq-lite's, without a pipe: started from a process that has imported torch.
HEAVY = re.compile(r"(fairseq-[a-z-]+) [^|<]*$")
# A loader's process takes time to end, and the thread that fills a buffer can abort a training that ends in an epoch.
ADDED = {"fairseq-train": ["--num-workers=0", "--data-buffer-size=0"], "fairseq-generate": ["--num-workers=0"]}


class Guide(NamedTuple):
    """What the test of a page needs."""

    # prepare(folder, made) makes the files that the page takes for granted; made gives a fixture by its name
    prepare: Callable[[Path, Callable], None]
    # options and their values for toys
    sizes: Dict[str, object]
    # what the last command prints, as a regular expression
    printed: str


def parallel_text(folder, made):
    write_parallel_text(folder)


def binary_data(folder, made):
    shutil.copytree(made("corpus"), folder / "data-bin")


def trained_model(folder, made):
    binary_data(folder, made)
    (folder / "lite").mkdir()
    shutil.copy(made("model") / "checkpoint_last.pt", folder / "lite" / "checkpoint_best.pt")
    (folder / "test.zh").write_text("t1 t2\n" * TEST_SENTENCES)


def subwords(folder, made):
    write_subwords(folder)


def bert_and_sentences(folder, made):
    (folder / "bert").mkdir()
    write_bert(folder / "bert", POSITIONS)
    write_sentences(folder)


SHORT = {"--max-update": 8, "--transfer-updates": 4}
SMALL = {
    "--encoder-layers": 1,
    "--encoder-embed-dim": WIDTH,
    "--encoder-ffn-embed-dim": FFN,
    "--encoder-attention-heads": HEADS,
    "--max-positions": POSITIONS,
    "--distillation-layers": "0:0",
}
GUIDES = {
    "guides/small_transformer.md": Guide(parallel_text, {}, r"(.*\n){2}"),
    "guides/rnn.md": Guide(binary_data, SHORT, r"(?s).*BLEU = .*"),
    "guides/chinese_japanese.md": Guide(trained_model, {}, r'(?s).*"name": "BLEU".*'),
    "guides/language_model.md": Guide(subwords, {**SHORT, "--decoder-embed-dim": 64}, r"(?s).+"),
    "bert.md": Guide(bert_and_sentences, SMALL, r"((place|food)\n){40}"),
}


def commands(text):
    """The commands of a page: each line of an indented block, and each fenced block as a whole."""
    for language, fenced, indented in BLOCK.findall(text):
        if language == "python":
            yield f"python - <<'END'\n{fenced}END"
        elif language == "bash":
            yield fenced
        else:
            yield from re.sub(r"\\\n\s*", "", re.sub("^ {4}", "", indented, flags=re.M)).splitlines()


def bash(command, folder):
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = {**os.environ, "PATH": path, "UPDATES": "8"}
    strict = ["bash", "-eo", "pipefail", "-c", command]
    return subprocess.run(strict, cwd=folder, env=environment, capture_output=True, text=True)


def with_sizes(text, sizes):
    """The text with other values of options, each of which it must have."""
    for option, value in sizes.items():
        text, found = re.subn(rf"{option} [\d:,]+", f"{option} {value}", text)
        assert found, f"{option}: no longer in the guide"
    return text


@pytest.mark.parametrize("page", GUIDES)
def test_every_command_of_a_guide_runs(page, plugin, request, tmp_path):
    guide = GUIDES[page]
    guide.prepare(tmp_path, request.getfixturevalue)
    for command in commands(with_sizes((DOCS / page).read_text(), guide.sizes)):
        if heavy := HEAVY.match(command):
            arguments = bash(f"printf '%s\\n' {command}", tmp_path).stdout.splitlines()[1:]
            arguments = [plugin if argument == "fairseq_lite" else argument for argument in arguments]
            process = run_script(command_line(heavy[1]), [*arguments, *ADDED.get(heavy[1], [])], tmp_path)
        else:
            process = bash(command, tmp_path)
        assert process.returncode == 0, f"{command}:\n{tail(process.stderr)}"
    assert re.fullmatch(guide.printed, process.stdout), process.stdout
