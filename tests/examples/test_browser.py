"""The page of examples/browser in a headless Chromium: the tokens of Python, also without a network."""

import functools
import http.server
import json
import random
import shutil
import subprocess
import threading
from pathlib import Path

import pytest
import sentencepiece
import torch
from chromium import Page, find_browser
from fairseq_lite_runtime import Translator
from saved import save_checkpoint, write_dictionary

from fairseq_lite import cli

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # hydra's, to fairseq
EXAMPLE = Path(__file__).parents[2] / "examples" / "browser"
LITE = "--arch lite_transformer_tiny --source-lang de --target-lang en --share-all-embeddings"
WORDS = "the battery of door sensor is low enter password your account Zürich naïve 北京 e-mail 3.5".split()


@pytest.fixture(scope="module")
def packages():
    """The example's packages, installed where they lack."""
    if find_browser() is None:
        pytest.skip("no Chromium here; Debian's package is chromium")
    if shutil.which("npm") is None:
        pytest.skip("no npm here; Debian's package is npm")
    lock, installed = EXAMPLE / "package-lock.json", EXAMPLE / "node_modules" / ".package-lock.json"
    if not installed.exists() or installed.stat().st_mtime < lock.stat().st_mtime:
        process = subprocess.run(["npm", "ci", "--no-audit", "--no-fund"], cwd=EXAMPLE, capture_output=True, text=True)
        if process.returncode:
            pytest.skip(f"npm ci failed: {process.stderr[-300:]}")


@pytest.fixture(scope="module")
def sentences():
    rng = random.Random(1)
    return [" ".join(rng.choices(WORDS, k=rng.randint(1, 9))) for _ in range(50)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory, sentences):
    """An exported folder of a Lite Transformer with random weights and a subword model."""
    model = tmp_path_factory.mktemp("browser") / "subwords.model"
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(sentences * 4), model_prefix=str(model)[:-6], vocab_size=48, minloglevel=2
    )
    processor = sentencepiece.SentencePieceProcessor(model_file=str(model))
    pieces = [processor.id_to_piece(i) for i in range(3, processor.get_piece_size())]
    random.Random(2).shuffle(pieces)
    write_dictionary(model.parent / "dict.de.txt", pieces)
    write_dictionary(model.parent / "dict.en.txt", pieces)
    torch.manual_seed(1)
    save_checkpoint(model.parent / "model.pt", model.parent, "translation", LITE)
    arguments = [model.parent / "model.pt", model.parent / "out", "--bits", "8", "--beam", 3, "--spm", model]
    assert cli.main(["export", *map(str, arguments)]) == 0
    return model.parent / "out"


@pytest.fixture(scope="module")
def page(packages, folder):
    """The page, loaded, with the network cut behind it."""
    handler = functools.partial(Site, folder)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with Page(f"http://127.0.0.1:{server.server_port}/index.html") as page:
            page.wait_for("document.getElementById('status')?.textContent === 'ready'")
            page.call(
                "Network.emulateNetworkConditions", offline=True, latency=0, downloadThroughput=0, uploadThroughput=0
            )
            server.shutdown()
            yield page


class Site(http.server.SimpleHTTPRequestHandler):
    """The example, with an exported folder at model/."""

    def __init__(self, folder, *arguments):
        self.folder = folder
        super().__init__(*arguments, directory=str(EXAMPLE))

    def translate_path(self, path):
        name = path.split("?")[0].removeprefix("/model/")
        return super().translate_path(path) if name.startswith("/") else str(self.folder / name)

    def log_message(self, *_):
        pass


def test_tokens_are_those_of_python(page, folder, sentences):
    found = page.evaluate(
        f"""(async () => {{
          const found = [];
          for (const line of {json.dumps(sentences)}) found.push(await translator.translate(line));
          return found;
        }})()"""
    )
    expected = [hypotheses[0] for hypotheses in Translator(folder).hypotheses(sentences)]
    assert [each["tokens"] for each in found] == [each.tokens for each in expected]
    assert [each["text"] for each in found] == [each.text for each in expected]
    assert [each["score"] for each in found] == pytest.approx([each.score for each in expected], abs=1e-4)


def test_the_page_translates_what_is_typed_and_shows_its_figures(page, folder, sentences):
    page.evaluate("document.getElementById('source').focus()")
    page.call("Input.insertText", text=f"{sentences[0]}\n\n{sentences[1]}")
    shown = page.wait_for(
        "document.getElementById('target').textContent.split('\\n').length === 3 && target.textContent"
    )
    first, second = Translator(folder).translate(sentences[:2])
    assert shown == f"{first}\n\n{second}"
    assert page.wait_for("document.getElementById('speed').textContent")
    files = [path.stat().st_size for path in folder.iterdir() if path.name != "config.json"]
    assert page.evaluate("document.getElementById('bytes').textContent") == f"{sum(files):,}"
