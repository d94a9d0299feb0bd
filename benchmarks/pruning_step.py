"""Times a training step in which importance is collected, and one that only masks, against a plain step.

Usage: python benchmarks/pruning_step.py [--output FILE.md]
"""

from __future__ import annotations

from typing import Callable

import torch
from timing import THREADS, environment, markdown_table, median_milliseconds, output_parser, tell

from fairseq_lite.building import build_architecture
from fairseq_lite.pruning.options import PruningOptions
from fairseq_lite.pruning.pruner import Pruner

REPETITIONS, SENTENCES, LENGTH = 15, 32, 20
ARCHITECTURES = ("transformer_iwslt_de_en", "lite_transformer_iwslt_de_en")
# In update 1 of such a schedule nothing is pruned; in the second one all is, and recovery begins.
HALF_IN_THE_SECOND_UPDATE = PruningOptions(pruning_target=0.5, pruning_end=2, pruning_steps=1)


def step(architecture: str, update: int) -> Callable[[], object]:
    """Forward, backward and Adam in an update: 0 without pruning, 1 while importance is collected, 2 while masked."""
    torch.manual_seed(1)
    model = build_architecture(architecture, [], vocab_size=1000).train()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-6)
    source = torch.randint(4, 1000, (SENTENCES, LENGTH))
    pruner = Pruner(model, HALF_IN_THE_SECOND_UPDATE, updates=0) if update else None

    def run(number=update):
        optimizer.zero_grad()
        if pruner:
            pruner.before_forward(number)
        loss = model(source, None, source)[0].logsumexp(-1).sum()
        if pruner:
            pruner.see_loss(loss)
        loss.backward()
        optimizer.step()

    if update == 2:
        run(1)
    return run


def main() -> None:
    args = output_parser(__doc__).parse_args()
    torch.set_num_threads(THREADS)
    rows = []
    for architecture in ARCHITECTURES:
        times = median_milliseconds([step(architecture, update) for update in range(3)], REPETITIONS)
        rows.append([architecture, *(f"{ms:.0f}" for ms in times)])
        rows[-1] += [f"{100 * (ms / times[0] - 1):+.0f} %" for ms in times[1:]]
    header = ["architecture", "plain, ms", "collecting, ms", "masked, ms", "collecting", "masked"]
    conditions = f"{environment()}, {SENTENCES} sentences of {LENGTH} tokens, medians of {REPETITIONS}"
    tell(f"{conditions}\n\n{markdown_table(header, rows)}", args.output)


if __name__ == "__main__":
    main()
