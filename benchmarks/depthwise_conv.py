"""Lightweight and dynamic convolution of this package against fairseq's, from the same input and parameters.

    python benchmarks/depthwise_conv.py [--quick] [--threads N] [--output FILE.md]

Each time is that of the whole operator on the CPU: softmax of the taps (for dynamic convolution after the linear map
that predicts them) and convolution. fairseq has two paths for each: its default, a band matrix per sequence (for
dynamic convolution up to 512 positions), and unfolding. A path that takes ten times as long as the fastest is
repeated three times only.
"""

from __future__ import annotations

from typing import Callable, Iterator

import torch
from fairseq.modules.dynamic_convolution import DynamicConv1dTBC
from fairseq.modules.lightweight_convolution import LightweightConv1dTBC
from timing import THREADS, environment, markdown_table, median_milliseconds, output_parser
from torch import Tensor, nn

from fairseq_lite.modules.depthwise_conv import depthwise_conv

CHANNELS, HEADS, TOKENS = 248, 4, 4096
LENGTHS = (10, 30, 64, 256, 512, 1024)
KERNEL_SIZES = (3, 7, 15, 31)
SINGLE_SENTENCE_LENGTHS = (10, 30, 50)
HEADER = ("T", "B", "K", "pass", "fairseq default, ms", "fairseq unfold, ms", "ours, ms", "better of fairseq's / ours")


def lightweight(theirs: LightweightConv1dTBC, x: Tensor) -> Tensor:
    taps = theirs.weight.view(HEADS, -1).softmax(-1)
    return depthwise_conv(x, taps, theirs.padding_l)


def dynamic(theirs: DynamicConv1dTBC, x: Tensor) -> Tensor:
    taps = theirs.weight_linear(x).view(x.shape[0], x.shape[1], HEADS, -1).softmax(-1)
    return depthwise_conv(x, taps, theirs.padding_l)


OPERATORS = {"lightweight": (LightweightConv1dTBC, lightweight), "dynamic": (DynamicConv1dTBC, dynamic)}


def forward(convolve: Callable[[Tensor], Tensor], x: Tensor) -> None:
    with torch.no_grad():
        convolve(x)


def forward_backward(convolve: Callable[[Tensor], Tensor], x: Tensor, module: nn.Module) -> None:
    y = convolve(x)
    torch.autograd.grad(y, [x, *module.parameters()], torch.ones_like(y))


def measure(name: str, length: int, batch: int, kernel_size: int, repetitions: int) -> Iterator[list[object]]:
    """Two rows of the table, both causal."""
    module, ours = OPERATORS[name]
    theirs = module(CHANNELS, kernel_size, padding_l=kernel_size - 1, num_heads=HEADS, weight_softmax=True)
    x = torch.randn(length, batch, CHANNELS, requires_grad=True)
    contenders = [lambda x: theirs(x), lambda x: theirs(x, unfold=True), lambda x: ours(theirs, x)]
    torch.testing.assert_close(contenders[0](x), contenders[2](x), rtol=1e-4, atol=1e-4)
    passes = {
        "forward": [lambda f=f: forward(f, x) for f in contenders],
        "forward+backward": [lambda f=f: forward_backward(f, x, theirs) for f in contenders],
    }
    for which, functions in passes.items():
        times = median_milliseconds(functions, repetitions, hopeless=10)
        ratio = min(times[:2]) / times[2]
        yield [length, batch, kernel_size, which, *(f"{t:.2f}" for t in times), f"{ratio:.1f}"]


def table(name: str, shapes: list[tuple[int, int]], kernel_sizes: tuple[int, ...], repetitions: int) -> str:
    rows = []
    for length, batch in shapes:
        for kernel_size in kernel_sizes:
            rows += measure(name, length, batch, kernel_size, repetitions)
    return markdown_table(HEADER, rows)


def main() -> None:
    parser = output_parser(__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer shapes and repetitions")
    parser.add_argument("--threads", type=int, default=THREADS, help=f"of the CPU, {THREADS} unless given")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(1)

    lengths, kernel_sizes, repetitions = LENGTHS, KERNEL_SIZES, 20
    if args.quick:
        lengths, kernel_sizes, repetitions = (30, 256), (3, 31), 5
    full = [(length, round(TOKENS / length)) for length in lengths]
    single = [(length, 1) for length in SINGLE_SENTENCE_LENGTHS]

    medians = f"medians of {repetitions}, for one sentence of {5 * repetitions}"
    sections = [f"C = {CHANNELS}, H = {HEADS}, causal, float32, {medians}; {environment()}."]
    print(sections[0], end="\n\n", flush=True)
    for name in OPERATORS:
        for title, shapes, times in ((f"T x B = {TOKENS}", full, 1), ("one sentence", single, 5)):
            sections.append(f"### {name}, {title}\n\n{table(name, shapes, kernel_sizes, times * repetitions)}")
            print(sections[-1], end="\n\n", flush=True)
    if args.output:
        args.output.write_text("\n\n".join(sections) + "\n")


if __name__ == "__main__":
    main()
