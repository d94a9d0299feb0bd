"""Greedy generation by fairseq's SequenceGenerator: linear attention against fairseq's softmax attention.

    python benchmarks/generation.py [--kinds NAME ...] [--batch-sizes N ...] [--longest N] [--time-limit SECONDS]
                                    [--output FILE.md] [--plot FILE.png]

Each model and batch size runs once, in a process of its own, up to the longest length. Clock and memory are read
before each step, so that one run tells about every length; softmax attention stops at the time limit.
"""

from __future__ import annotations

import math
import multiprocessing
import os
import resource
import statistics
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import torch
from fairseq.sequence_generator import EnsembleModel, SequenceGenerator
from timing import THREADS, environment, markdown_table, output_parser, tell

from fairseq_lite.building import build_architecture, dictionary_of_size

LAYERS, WIDTH, FFN_WIDTH, HEADS, FEATURES, VOCABULARY = 6, 512, 2048, 8, 32, 10000
LINEAR = f"t2r_transformer_lm --causal-feature-dim={FEATURES}"
MODELS = {
    "softmax": "transformer_lm",
    "t2r": f"{LINEAR} --feature-map=t2r",
    "exp": f"{LINEAR} --feature-map=exp",
    "exp, window 16": f"{LINEAR} --feature-map=exp --causal-window=16",
}
BATCH_SIZES, LENGTHS = (1, 16), (256, 512, 1024, 2048, 4096)
# The time of a step at a length is the median of this many steps before it.
WINDOW = 64
HEADER = ["tokens/s", "ms a step there", "resident (peak), MB", "state, MB", "speed against softmax"]


@dataclass
class Trace:
    """What was read when each number of tokens a text, the index, was there; the state's size at LENGTHS only."""

    batch: int
    seconds: list[float] = field(default_factory=list)
    resident: list[float] = field(default_factory=list)
    peak: list[float] = field(default_factory=list)
    state: dict[int, float] = field(default_factory=dict)

    def read(self) -> None:
        """Read the clock, and in megabytes the process's resident memory and its peak so far."""
        self.seconds.append(time.perf_counter())
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        self.resident.append(pages * os.sysconf("SC_PAGE_SIZE") / 1e6)
        self.peak.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6)

    def duration(self, length: int = -1) -> float:
        return self.seconds[length] - self.seconds[0]

    def tokens_per_second(self, length: int) -> float:
        return self.batch * length / self.duration(length)

    def step_milliseconds(self, length: int) -> float:
        around = self.seconds[max(length - WINDOW, 0) : length + 1]
        return 1e3 * statistics.median(after - before for before, after in zip(around, around[1:]))

    def cells(self, length: int, softmax: Trace | None) -> list[str]:
        """What HEADER says, or dashes for a length that was not reached."""
        if length not in self.state:
            return ["-"] * len(HEADER)
        known = softmax is not None and length in softmax.state
        ratio = f"{softmax.duration(length) / self.duration(length):.2f}" if known else "-"
        resident, peak = (megabytes[length] - self.resident[0] for megabytes in (self.resident, self.peak))
        memory = f"{resident:.0f} ({max(resident, peak):.0f})"
        speed = f"{self.tokens_per_second(length):.0f}"
        return [speed, f"{self.step_milliseconds(length):.1f}", memory, f"{self.state[length]:.1f}", ratio]


class OutOfTime(Exception):
    """A run has reached its time limit."""


class TracedModel(EnsembleModel):
    """A model as SequenceGenerator calls it, with a trace of the steps; raises OutOfTime after `limit` seconds."""

    def __init__(self, model: torch.nn.Module, trace: Trace, limit: float):
        super().__init__([model])
        self.trace, self.limit = trace, limit

    def forward_decoder(self, tokens, encoder_outs, incremental_states, temperature: float = 1.0):
        """One step; tokens: [B, 1 + tokens so far]."""
        self.trace.read()
        length = tokens.size(1) - 1
        if length in LENGTHS:
            saved = [x for buffers in incremental_states[0].values() for x in buffers.values() if x is not None]
            self.trace.state[length] = sum(x.numel() * x.element_size() for x in saved) / 1e6
        if self.trace.duration() > self.limit:
            raise OutOfTime
        return super().forward_decoder(tokens, encoder_outs, incremental_states, temperature)


def build(kind: str, longest: int) -> torch.nn.Module:
    """The model that fairseq-train would start from, ready to generate."""
    architecture, *options = MODELS[kind].split()
    # The generator adds the beginning and the end of the text.
    sizes = [f"--max-target-positions={longest + 2}", f"--decoder-layers={LAYERS}", f"--decoder-embed-dim={WIDTH}"]
    sizes += [f"--decoder-input-dim={WIDTH}", f"--decoder-output-dim={WIDTH}", f"--decoder-ffn-embed-dim={FFN_WIDTH}"]
    sizes += [f"--decoder-attention-heads={HEADS}"]
    model = build_architecture(architecture, [*sizes, *options], VOCABULARY)
    model.make_generation_fast_(beamable_mm_beam_size=1, need_attn=False)
    return model


def generate(kind: str, batch: int, longest: int, limit: float) -> Trace:
    """Continue `batch` texts of one random token each to `longest` tokens."""
    torch.set_num_threads(THREADS)
    torch.manual_seed(1)
    trace = Trace(batch)
    model = TracedModel(build(kind, longest), trace, limit)
    dictionary = dictionary_of_size(VOCABULARY)
    generator = SequenceGenerator(model, dictionary, beam_size=1, max_len_b=longest, min_len=longest)
    prefix = torch.randint(dictionary.nspecial, VOCABULARY, (batch, 1))
    with suppress(OutOfTime):
        generator.generate([], {"net_input": {"src_tokens": prefix}}, prefix_tokens=prefix)
    reached = f"{len(trace.seconds) - 1} tokens in {trace.duration():.0f} s"
    print(f"{kind}, batch {batch}: {reached}", file=sys.stderr)
    return trace


def trace_alone(*run: object) -> Trace:
    """The trace of generate(*run) in a new process, whose memory is that of this run only."""
    with multiprocessing.get_context("spawn").Pool(1) as process:
        return process.apply(generate, run)


def table(runs: list[dict[str, Trace]]) -> str:
    rows = [
        [trace.batch, length, name, *trace.cells(length, traces.get("softmax"))]
        for traces in runs
        for length in LENGTHS
        if any(length in trace.state for trace in traces.values())
        for name, trace in traces.items()
    ]
    return markdown_table(["batch", "length", "attention", *HEADER], rows)


def plot(traces: dict[str, Trace], file: Path) -> None:
    """Time of a step and resident memory over the length, a line for each model."""
    from matplotlib import pyplot

    figure, (time_axis, memory_axis) = pyplot.subplots(1, 2, figsize=(9, 3.8), layout="constrained")
    for colour, (name, trace) in zip(("tab:red", "tab:blue", "tab:green", "tab:purple"), traces.items()):
        lengths = range(WINDOW, len(trace.seconds), WINDOW)
        times = [trace.step_milliseconds(length) for length in lengths]
        memory = [trace.resident[length] for length in lengths]
        for axis, values in ((time_axis, times), (memory_axis, memory)):
            axis.plot(lengths, values, color=colour, label=name)
    time_axis.set(title=f"Time of one more token in each of {trace.batch} texts", ylabel="milliseconds")
    memory_axis.set(title="Resident memory of the process", ylabel="megabytes")
    for axis in (time_axis, memory_axis):
        axis.set_xlabel("tokens generated so far")
        for side, scale in ((axis.xaxis, axis.set_xscale), (axis.yaxis, axis.set_yscale)):
            scale("log", base=2)
            side.set_major_formatter("{x:g}")
        axis.margins(y=0.15)
        axis.grid(alpha=0.3)
        axis.spines[["top", "right"]].set_visible(False)
    time_axis.legend(title="attention", frameon=False)
    figure.savefig(file, dpi=110)


def main() -> None:
    parser = output_parser(__doc__)
    parser.add_argument("--kinds", nargs="+", default=list(MODELS), choices=MODELS, help="of attention")
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=BATCH_SIZES, metavar="N", help="texts at a time")
    parser.add_argument("--longest", type=int, default=LENGTHS[-1], help="tokens to generate, %(default)s if not given")
    parser.add_argument("--time-limit", type=float, default=150, help="of softmax, %(default)s seconds if not given")
    parser.add_argument("--plot", type=Path, help="picture to write, of the larger batch")
    args = parser.parse_args()
    torch.set_num_threads(THREADS)
    limits = {kind: args.time_limit if kind == "softmax" else math.inf for kind in args.kinds}
    runs = [
        {kind: trace_alone(kind, batch, args.longest, limit) for kind, limit in limits.items()}
        for batch in args.batch_sizes
    ]
    sizes = f"{LAYERS} layers, width {WIDTH}, FFN {FFN_WIDTH}, {HEADS} heads, k = {FEATURES}, vocabulary {VOCABULARY}"
    text = f"{sizes}, beam 1, float32; {environment()}.\n\n{table(runs)}"
    tell(text, args.output)
    if args.plot:
        plot(runs[-1], args.plot)


if __name__ == "__main__":
    main()
