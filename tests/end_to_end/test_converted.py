"""Published checkpoints, converted, run under fairseq's commands."""

import json
from pathlib import Path

import pytest

GOLDEN = Path(__file__).parents[1] / "golden"
SPECIAL_SYMBOLS = 4
SENTENCES = 16


@pytest.fixture(scope="module")
def data(run, tmp_path_factory):
    """Binarises a few sentences with dictionaries of a published model's sizes; returns a folder."""

    def data(*entries):
        folder = tmp_path_factory.mktemp("data")
        (folder / "text.src").write_text("w1 w2 w3\n" * SENTENCES)
        (folder / "text.tgt").write_text("w3 w2 w1\n" * SENTENCES)
        options = []
        for side, size in zip(("src", "tgt"), entries):
            words = [f"w{i} 1" for i in range(size - SPECIAL_SYMBOLS)]
            (folder / f"{side}.txt").write_text("\n".join(words) + "\n")
            options += [f"--{side}dict", folder / f"{side}.txt"]
        options += ["--source-lang", "src", "--target-lang", "tgt"] if len(entries) == 2 else ["--only-source"]
        text = folder / ("text" if len(entries) == 2 else "text.src")
        run("fairseq-preprocess", *options, "--testpref", text, "--destdir", folder / "binary")
        return folder / "binary"

    return data


@pytest.fixture
def converted(run, tmp_path):
    def converted(name):
        path = tmp_path / f"{name}.pt"
        method = "t2r" if name.startswith("t2r") else "lite-transformer"
        run("fairseq-lite", "convert", method, GOLDEN / f"{name}.pt", path)
        return path

    return converted


@pytest.mark.parametrize(
    "name, entries",
    [
        ("lite_transformer_iwslt_light", (124, 164)),
        ("lite_transformer_wmt_dynamic", (124, 124)),
        ("t2r_mt", (124, 124)),
    ],
)
def test_translation_generates(run, data, converted, plugin, name, entries):
    path = converted(name)
    process = run("fairseq-generate", data(*entries), "--user-dir", plugin, "--path", path, "--cpu", "--max-len-b", 9)
    assert sum(line.startswith("D-") for line in process.stdout.splitlines()) == SENTENCES


@pytest.mark.parametrize("name", ["lite_transformer_lm_wiki103", "t2r_lm"])
def test_language_model_is_evaluated(run, data, converted, plugin, name):
    path = converted(name)
    process = run("fairseq-eval-lm", data(124), "--user-dir", plugin, "--path", path, "--cpu", "--gen-subset", "test")
    assert "Perplexity" in process.stdout + process.stderr


def test_mult_adds_of_a_checkpoint(run, converted):
    process = run("fairseq-lite", "mult-adds", converted("lite_transformer_iwslt_light"), "--json")
    assert json.loads(process.stdout)["parameters"] == 50760
