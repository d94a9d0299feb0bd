"""Translates a test set one sentence at a time, and writes what it was like.

Usage: python measure.py fairseq CHECKPOINT DATA OUT.json     by fairseq-generate
       python measure.py folder FOLDER DATA OUT.json          by the runtime, of an exported folder

DATA is what examples/multi30k/prepare.sh made. OUT.json holds BLEU, tokens (the end of each sentence is one), seconds
without loading, the most memory that the translating process had, in bytes, and the bytes of the model. Threads are
OMP_NUM_THREADS in fairseq, and one in the runtime.
"""

import argparse
import json
import re
import resource
import subprocess
import time
from pathlib import Path

BEAM = 4
SOURCE, TARGET = "en", "de"
LOGGED = re.compile(r"Translated [\d,]+ sentences \(([\d,]+) tokens\) in ([\d.]+)s")


def peak_memory(who: int) -> int:
    """Bytes; Linux counts in 1024."""
    return resource.getrusage(who).ru_maxrss * 1024


def in_fairseq(checkpoint: Path, data: Path) -> dict:
    """By fairseq-generate, whose log tells tokens and seconds."""
    command = f"fairseq-generate {data}/binary --user-dir fairseq_lite --path {checkpoint} --gen-subset test --cpu"
    command += f" --beam {BEAM} --batch-size 1 --remove-bpe=sentencepiece"
    process = subprocess.run(command.split(), check=True, capture_output=True, text=True)
    tokens, seconds = LOGGED.search(process.stdout + process.stderr).groups()
    lines = re.findall(r"^D-(\d+)\t\S+\t(.*)$", process.stdout, re.MULTILINE)
    return {
        "translations": [text for _, text in sorted(lines, key=lambda line: int(line[0]))],
        "tokens": int(tokens.replace(",", "")),
        "seconds": float(seconds),
        "memory": peak_memory(resource.RUSAGE_CHILDREN),
        "bytes": checkpoint.stat().st_size,
    }


def in_folder(folder: Path, data: Path) -> dict:
    """By the runtime, which is all that this process has loaded so far."""
    from fairseq_lite_runtime import Translator

    pieces = (data / f"text/test.{SOURCE}").read_text(encoding="utf-8").splitlines()
    texts = [line.replace(" ", "").replace("\u2581", " ").strip() for line in pieces]
    translator = Translator(folder, threads=1, batch_size=1)
    translator.translate(texts[:8], beam=BEAM)
    start = time.perf_counter()
    found = translator.hypotheses(texts, beam=BEAM)
    seconds = time.perf_counter() - start
    return {
        "translations": [best.text for (best,) in found],
        "tokens": sum(len(best.tokens) for (best,) in found),
        "seconds": seconds,
        "memory": peak_memory(resource.RUSAGE_SELF),
        "bytes": (folder / "model.onnx").stat().st_size,
        "mult_adds": json.loads((folder / "config.json").read_text())["mult_adds"],
    }


def bleu(translations: list, data: Path) -> float:
    import sacrebleu

    references = (data / f"reference.{TARGET}").read_text(encoding="utf-8").splitlines()
    return sacrebleu.corpus_bleu(translations, [references]).score


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("way", choices=["fairseq", "folder"])
    parser.add_argument("model", type=Path, metavar="MODEL")
    parser.add_argument("data", type=Path, metavar="DATA")
    parser.add_argument("out", type=Path, metavar="OUT.json")
    args = parser.parse_args()
    found = {"fairseq": in_fairseq, "folder": in_folder}[args.way](args.model, args.data)
    found["bleu"] = bleu(found.pop("translations"), args.data)
    args.out.write_text(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
