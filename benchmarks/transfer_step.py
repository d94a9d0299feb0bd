"""Times an update of attention transfer against one of finetuning.

Usage: python benchmarks/transfer_step.py [--output FILE.md]

Sizes and batches are those of examples/t2r: 2,048 tokens, 64 features, transfer by KL. Both sides do a forward pass, a
backward pass and a step of Adam, in turns.
"""

from __future__ import annotations

import argparse
from typing import Callable

import torch
from fairseq.criterions.adaptive_loss import AdaptiveLoss
from fairseq.criterions.label_smoothed_cross_entropy import LabelSmoothedCrossEntropyCriterion
from timing import THREADS, environment, markdown_table, median_milliseconds, output_parser, tell

from fairseq_lite.building import build_architecture, task_of_sizes
from fairseq_lite.tasks.attention_transfer import AttentionDistance
from fairseq_lite.tasks.finetune import trainable_parameters

REPETITIONS = 9
TOKENS = 2048
# in a dictionary, after the special entries
FIRST_WORD = 4
LANGUAGE_MODEL = (
    "t2r_transformer_lm_exp --decoder-layers 4 --decoder-attention-heads 4 --decoder-normalize-before"
    " --decoder-embed-dim 128 --decoder-input-dim 128 --decoder-output-dim 128 --decoder-ffn-embed-dim 512"
    " --adaptive-input --adaptive-input-cutoff 2000,10000 --adaptive-softmax-cutoff 2000,10000 --tie-adaptive-weights"
)
TRANSLATOR = "t2r_transformer_exp --share-all-embeddings" + "".join(
    f" --{side}-embed-dim 128 --{side}-ffn-embed-dim 256 --{side}-layers 3 --{side}-attention-heads 4"
    f" --{side}-normalize-before"
    for side in ("encoder", "decoder")
)
# name: options, vocabulary, tokens of a sentence
WORKS = {
    "language model": (LANGUAGE_MODEL, 33278, 256),
    "translation, past linear": (TRANSLATOR, 6000, 16),
    "translation, past and source linear": (f"{TRANSLATOR} --linear-attention causal,cross", 6000, 16),
}


def sample(vocabulary: int, length: int, translates: bool) -> dict:
    """A batch of random words without padding, the nth most frequent with a share of 1 / n, as text has them.

    What an adaptive softmax costs depends on it.
    """
    shares = 1 / torch.arange(1, vocabulary - FIRST_WORD + 1)
    words = FIRST_WORD + torch.multinomial(shares, TOKENS, replacement=True).view(-1, length)
    lengths = torch.full((len(words),), length)
    net_input = {"src_tokens": words, "src_lengths": lengths}
    if translates:
        net_input["prev_output_tokens"] = words
    return {"net_input": net_input, "target": words, "ntokens": words.numel()}


def steps(options: str, vocabulary: int, length: int) -> list[Callable[[], object]]:
    """A finetuning step and a transfer step of one model."""
    torch.manual_seed(1)
    name, *rest = options.split()
    model = build_architecture(name, rest, vocabulary).train()
    task = argparse.Namespace(**vars(task_of_sizes(vocabulary, vocabulary)))
    translates = hasattr(model, "encoder")
    finetune = LabelSmoothedCrossEntropyCriterion(task, False, 0.1) if translates else AdaptiveLoss(task, False)
    batch = sample(vocabulary, length, translates)

    def step(criterion, which: str) -> Callable[[], object]:
        optimizer = torch.optim.Adam(trainable_parameters(model, which), lr=1e-6)

        def run():
            model.zero_grad()
            criterion(model, batch)[0].backward()
            optimizer.step()

        return run

    transfer = AttentionDistance("kl", task.target_dictionary.pad())
    return [step(finetune, "all"), step(transfer, "feature-maps")]


def main() -> None:
    args = output_parser(__doc__).parse_args()
    torch.set_num_threads(THREADS)
    rows = []
    for name, work in WORKS.items():
        finetuning, transfer = median_milliseconds(steps(*work), REPETITIONS)
        rows.append([name, f"{finetuning:.0f}", f"{transfer:.0f}", f"{transfer / finetuning:.2f}"])
    header = ["model", "finetuning, ms", "transfer, ms", "ratio"]
    tell(f"{environment()}, medians of {REPETITIONS}\n\n{markdown_table(header, rows)}", args.output)


if __name__ == "__main__":
    main()
