"""Exported graphs against fairseq's path, torch, and CTranslate2: processor time of one thread.

Usage: python benchmarks/export.py [WORK ...] [--bits 32 8 4] [--rounds N] [--output FILE.md]

WORK is one of lite (Lite Transformer of width 160), lm (language model with linear attention), bert (classifier,
dense and pruned), wmt (Lite Transformer of width 496 against CTranslate2's int8 Transformer base, where
`pip install ctranslate2` was done). Weights are random; each sentence has 30 tokens, and 30 are generated.
All sides take turns in one process. Times are medians of the process's own time, which other work on the machine
disturbs less than the clock's.
"""

from __future__ import annotations

import importlib.util
import platform
import statistics
import time
from pathlib import Path
from typing import Iterable, Iterator, NamedTuple, Sequence

import export_sides as sides
import onnxruntime
import torch
from export_sides import Work
from timing import environment, markdown_table, output_parser, tell

from fairseq_lite.export.config import CLASSIFICATION, LANGUAGE_MODEL, TRANSLATION

LENGTH, ROUNDS = 30, 5
LM = [
    *("--decoder-layers=6", "--decoder-embed-dim=512", "--decoder-input-dim=512", "--decoder-output-dim=512"),
    *("--decoder-ffn-embed-dim=2048", "--decoder-attention-heads=8", "--feature-map=t2r", "--causal-feature-dim=32"),
]
MINILM = dict(layers=12, width=384, ffn=1536, heads=12)
BEAMS, BATCHES = (1, 4), (1, 16)


class Row(NamedTuple):
    """One comparison: what is done, how many tokens come out (0: sentences are classified), and the sides."""

    work: str
    batch: int
    tokens: int
    runs: dict[str, Work]


def generated(work: str, kind: str, model, bits: Sequence[int], beams: Iterable[int], other=None) -> Iterator[Row]:
    """Rows of a generating model by batch and beam; the first side is what the others are compared with."""
    sessions = {number: sides.exported(model, kind, number) for number in bits}
    for batch in BATCHES:
        for beam in beams:
            asked = (sides.tokens(batch, LENGTH if kind == TRANSLATION else 2), beam, LENGTH)
            first = {"fairseq": sides.fairseq_generation(kind, model, *asked)} if other is None else other(*asked)
            runs = {f"{number} bits": sides.generation(kind, session, *asked) for number, session in sessions.items()}
            yield Row(f"{work}, beam {beam}", batch, batch * LENGTH, {**first, **runs})


def lite(bits: Sequence[int]) -> Iterator[Row]:
    """The narrow Lite Transformer."""
    model = sides.build("lite_transformer_iwslt_de_en")
    yield from generated("Lite Transformer 160", TRANSLATION, model, bits, BEAMS)


def language_model(bits: Sequence[int]) -> Iterator[Row]:
    """A language model whose attention is linear."""
    model = sides.build("t2r_transformer_lm", LM)
    yield from generated("language model 6 x 512, T2R", LANGUAGE_MODEL, model, bits, (1,))


def bert(bits: Sequence[int]) -> Iterator[Row]:
    """A classifier as it was and with 60 % of its neurons pruned; all sides against torch with the dense one."""
    models = {"dense": sides.classifier(**MINILM), "60 % pruned": sides.classifier(**MINILM, kept=0.4)}
    sessions = {
        f"{name}, {number} bits": sides.exported(model, CLASSIFICATION, number)
        for name, model in models.items()
        for number in bits
    }
    for batch in (1, 32):
        source = sides.tokens(batch, LENGTH)
        runs = {f"torch, {name}": sides.torch_classification(model, source) for name, model in models.items()}
        runs.update((name, sides.classification(session, source)) for name, session in sessions.items())
        yield Row("BERT 12 x 384", batch, 0, runs)


def wmt(bits: Sequence[int]) -> Iterator[Row]:
    """The wide Lite Transformer against the Transformer that has its quality in the paper."""
    if importlib.util.find_spec("ctranslate2") is None:
        print("wmt: left out, because ctranslate2 is not installed")
        return
    from export_ctranslate2 import transformer_base

    model = sides.build("lite_transformer_wmt_en_de_527m")
    other = transformer_base(sides.VOCABULARY)
    yield from generated("Lite Transformer 496", TRANSLATION, model, bits, BEAMS, other)


WORKS = {"lite": lite, "lm": language_model, "bert": bert, "wmt": wmt}


def seconds_in_turns(runs: Sequence[Work], rounds: int) -> list[float]:
    """Median processor time of each, after one call to warm up."""
    times: list[list[float]] = [[] for _ in runs]
    for turn in range(rounds + 1):
        for run, samples in zip(runs, times):
            start = time.process_time()
            run()
            if turn > 0:
                samples.append(time.process_time() - start)
    return [statistics.median(samples) for samples in times]


def lines(row: Row, rounds: int) -> Iterator[list[str]]:
    """A line of the table for each side."""
    seconds = seconds_in_turns(list(row.runs.values()), rounds)
    for name, spent in zip(row.runs, seconds):
        speed = f"{row.tokens / spent:.0f} tokens/s" if row.tokens else f"{row.batch / spent:.0f} sentences/s"
        each = f"{1e3 * spent:.2f}"
        yield [row.work, str(row.batch), name, each, speed, f"{seconds[0] / spent:.2f}"]


def processor() -> str:
    """The processor's name, as the system says it."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in text.splitlines() if line.startswith("model name")]
    wide = [name for name in ("avx512_vnni", "avx512f", "avx2") if f" {name}" in text]
    return ", ".join([*names[:1], *wide[:1]]) or platform.processor()


def main() -> None:
    parser = output_parser(__doc__)
    parser.add_argument("works", nargs="*", metavar="WORK", help=f"of {', '.join(WORKS)}; all if none is given")
    parser.add_argument("--bits", type=int, nargs="+", default=[32, 8, 4], help="bits a weight of the exported graphs")
    parser.add_argument(
        "--rounds", type=int, default=ROUNDS, help="times that each side runs, %(default)s if not given"
    )
    args = parser.parse_args()
    unknown = [name for name in args.works if name not in WORKS]
    if unknown:
        parser.error(f"{unknown[0]}: is none of {', '.join(WORKS)}")
    torch.set_num_threads(1)
    rows = [line for name in args.works or WORKS for row in WORKS[name](args.bits) for line in lines(row, args.rounds)]
    header = ["work", "batch", "side", "ms", "speed", "times the first"]
    versions = f"{environment()}, onnxruntime {onnxruntime.__version__}"
    text = f"{processor()}; processor time, {versions}, medians of {args.rounds}\n\n{markdown_table(header, rows)}"
    tell(text, args.output)


if __name__ == "__main__":
    main()
