"""Causal linear attention in chunks, by all T x T products, and torch's softmax attention, forward and backward.

    python benchmarks/causal_attention.py [--quick] [--output FILE.md]

All of q, k and v need gradients. A side that takes thirty times as long as the fastest is repeated three times only.
"""

from __future__ import annotations

from typing import Callable

import torch
import torch.nn.functional as F
from timing import THREADS, environment, markdown_table, median_milliseconds, output_parser, tell
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

from fairseq_lite.modules.causal_product import causal_product
from fairseq_lite.modules.linear_attention import divide

HEADS, HEAD_DIM, FEATURES, REPETITIONS = 8, 64, 32, 20
LENGTHS = (64, 128, 256, 512, 1024, 2048, 4096)
Attention = Callable[[Tensor, Tensor, Tensor], Tensor]


def chunked(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Ours: features q and k, [1, H, T, k], and values v, [1, H, T, d], to [1, H, T, d]."""
    numerator, denominator, _ = causal_product(q, k, v)
    return divide(numerator, denominator)


def quadratic(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """The same by all T x T products."""
    scores = (q @ k.transpose(-1, -2)).tril()
    return divide(scores @ v, scores.sum(-1))


def softmax(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """torch's own, q and k: [1, H, T, d]."""
    return F.scaled_dot_product_attention(q, k, v, is_causal=True)


def forward_backward(attend: Attention, inputs: list[Tensor], gradient: Tensor) -> None:
    torch.autograd.grad(attend(*inputs), inputs, gradient)


def saved_megabytes(attend: Attention, inputs: list[Tensor]) -> float:
    """What the forward pass keeps for the backward one beside its inputs, each storage counted once."""
    saved = {}

    def pack(x: Tensor) -> Tensor:
        storage = x.untyped_storage()
        saved[storage.data_ptr()] = storage.nbytes()
        return x

    with saved_tensors_hooks(pack, lambda x: x):
        output = attend(*inputs)  # noqa: F841, whose graph holds the storages while they are told apart
    for x in inputs:
        saved.pop(x.data_ptr(), None)
    return sum(saved.values()) / 1e6


def measure(length: int, repetitions: int) -> list[object]:
    """A row of the table."""
    features = torch.rand(2, 1, HEADS, length, FEATURES).unbind()
    *heads, v, gradient = torch.randn(4, 1, HEADS, length, HEAD_DIM).unbind()
    linear, wide = ([x.clone().requires_grad_() for x in (*qk, v)] for qk in (features, heads))
    torch.testing.assert_close(chunked(*linear), quadratic(*linear), rtol=1e-4, atol=1e-4)
    sides = [(chunked, linear), (quadratic, linear), (softmax, wide)]
    times = median_milliseconds(
        [lambda attend=attend, inputs=inputs: forward_backward(attend, inputs, gradient) for attend, inputs in sides],
        repetitions,
        hopeless=30,
    )
    memory = [saved_megabytes(*side) for side in sides]
    ratios = [f"{time / times[0]:.1f}" for time in times[1:]]
    return [length, *(f"{time:.2f}" for time in times), *ratios, *(f"{size:.1f}" for size in memory)]


def table(lengths: tuple[int, ...], repetitions: int) -> str:
    times = ["ours, ms", "quadratic, ms", "softmax, ms", "quadratic / ours", "softmax / ours"]
    header = ["T", *times, "saved by ours, MB", "by quadratic, MB", "by softmax, MB"]
    return markdown_table(header, [measure(length, repetitions) for length in lengths])


def main() -> None:
    parser = output_parser(__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer lengths and repetitions")
    args = parser.parse_args()
    torch.set_num_threads(THREADS)
    torch.manual_seed(1)
    lengths, repetitions = (LENGTHS[:4], 5) if args.quick else (LENGTHS, REPETITIONS)
    shape = f"B = 1, H = {HEADS}, d = {HEAD_DIM}, k = {FEATURES}, float32, forward and backward"
    text = f"{shape}, medians of {repetitions}; {environment()}.\n\n{table(lengths, repetitions)}"
    tell(text, args.output)


if __name__ == "__main__":
    main()
