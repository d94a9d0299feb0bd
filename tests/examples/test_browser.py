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
from saved import memorise, save_checkpoint, write_dictionary

from fairseq_lite import cli

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # hydra's, to fairseq
EXAMPLE = Path(__file__).parents[2] / "examples" / "browser"
LITE = (
    "--arch lite_transformer_tiny --source-lang de --target-lang en --share-all-embeddings --dropout 0"
    " --weight-dropout 0 --encoder-layers 1 --decoder-layers 1 --encoder-kernel-sizes 7 --decoder-kernel-sizes 7"
)
SCORE = 1e-2  # what is quantised while it runs differs by a step where the last digits differ
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
def checkpoint(tmp_path_factory, sentences):
    """A Lite Transformer that has learnt a substitute for each piece of the sentences, beside its subword model."""
    data = tmp_path_factory.mktemp("browser")
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(sentences * 4), model_prefix=str(data / "subwords"), vocab_size=48, minloglevel=2
    )
    processor = sentencepiece.SentencePieceProcessor(model_file=str(data / "subwords.model"))
    pieces = [processor.id_to_piece(i) for i in range(3, processor.get_piece_size())]
    random.Random(2).shuffle(pieces)
    number = {piece: i for i, piece in enumerate(pieces, 4)}
    ids = [[number[piece] for piece in processor.encode(line, out_type=str)] for line in sentences]
    pairs = [(line, [4 + (i * 7) % len(pieces) for i in line]) for line in ids]
    for name in ("dict.de.txt", "dict.en.txt"):  # enough for the products of large matrices
        write_dictionary(data / name, [*pieces, *(f"more{i}" for i in range(2100))])
    torch.manual_seed(1)
    train = functools.partial(memorise, pairs=pairs, updates=240)
    save_checkpoint(data / "model.pt", data, "translation", LITE, train=train)
    return data / "model.pt"


@pytest.fixture(scope="module")
def folder(request, checkpoint):
    """An exported folder of (bits, beam)."""
    bits, beam = request.param
    out = checkpoint.parent / f"out-{bits}-{beam}"
    arguments = ["--bits", bits, "--beam", beam, "--spm", checkpoint.parent / "subwords.model"]
    assert cli.main(["export", *map(str, [checkpoint, out, *arguments])]) == 0
    return out


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


def translate(page, sentences):
    """What the page's translator finds, one sentence after the other."""
    return page.evaluate(
        f"""(async () => {{
          const found = [];
          for (const line of {json.dumps(sentences)}) found.push(await translator.translate(line));
          return found;
        }})()"""
    )


def folders(**parameters):
    """(bits, beam) of the folders of a test, by their names."""
    return pytest.mark.parametrize("folder", parameters.values(), ids=parameters, indirect=True, scope="module")


@folders(bits8=(8, 1), bits4=(4, 1))
def test_tokens_are_those_of_python(page, folder, sentences):
    found = translate(page, sentences)
    expected = [hypotheses[0] for hypotheses in Translator(folder).hypotheses(sentences)]
    assert [each["tokens"] for each in found] == [each.tokens for each in expected]
    assert [each["text"] for each in found] == [each.text for each in expected]
    assert [each["score"] for each in found] == pytest.approx([each.score for each in expected], abs=SCORE)


# Which hypothesis of a beam is found may hang on the last digits: fairseq's search stops once enough have ended, and of
# two poor ones that nearly tie either may end first.
@folders(bits8=(8, 3), bits4=(4, 3))
def test_a_beam_finds_what_python_scores_alike(page, folder, sentences):
    python = Translator(folder)
    for line, each in zip(sentences, translate(page, sentences)):
        *prefix, _ = each["tokens"]
        row = {"source": [*python.source.ids(line), python.eos], "prefix": prefix}
        ((forced,),) = python.search.run([row], 1, {"beam": 1, "max_len_b": len(prefix)})
        assert forced.tokens == each["tokens"]
        assert each["score"] == pytest.approx(forced.score, abs=SCORE)


@folders(bits8=(8, 1), bits4=(4, 1))
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
