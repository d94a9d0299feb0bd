"""Times a linear layer whose pruned outputs are left out and filled in with zeros, against the whole layer.

Usage: python benchmarks/pruned_linear.py [--output FILE.md]

From which part of pruned outputs on this pays is what fairseq_lite/pruning/cuts.py goes by.
"""

from __future__ import annotations

from typing import Callable

import torch
from timing import environment, markdown_table, median_milliseconds, output_parser, tell
from torch.nn import functional as F

PARTS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 0.9)
SHAPES = ((160, 160), (384, 384), (1536, 384), (512, 512), (2048, 512))
TOKENS = (1, 10, 320)
INNER, REPETITIONS = 20, 30


def linear(inputs: int, outputs: int, kept: torch.Tensor, tokens: int) -> Callable[[], object]:
    """Some calls of a linear layer of which the outputs kept: [outputs], bool, are computed."""
    x, weight, bias = torch.randn(tokens, 1, inputs), torch.randn(outputs, inputs), torch.randn(outputs)
    places = kept.nonzero().squeeze(1)
    weight, bias = weight[places].contiguous(), bias[places]

    def once():
        y = F.linear(x, weight, bias)
        return y if kept.all() else y.new_zeros(tokens, 1, outputs).index_copy(-1, places, y)

    return lambda: [once() for _ in range(INNER)]


@torch.no_grad()
def table() -> str:
    rows = []
    for inputs, outputs in SHAPES:
        for tokens in TOKENS:
            shuffled = torch.randperm(outputs)
            layers = [linear(inputs, outputs, shuffled >= part * outputs, tokens) for part in (0.0, *PARTS)]
            whole, *pruned = median_milliseconds(layers, REPETITIONS)
            rows.append([f"{inputs} to {outputs}", tokens, f"{1e3 * whole / INNER:.0f}"])
            rows[-1] += [f"{whole / time:.2f}" for time in pruned]
    return markdown_table(["width", "tokens", "whole, us", *(f"{part:.0%} pruned" for part in PARTS)], rows)


def main() -> None:
    args = output_parser(__doc__).parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(1)
    text = f"{environment()}, medians of {REPETITIONS}; how many times faster than the whole layer\n\n{table()}"
    tell(text, args.output)


if __name__ == "__main__":
    main()
