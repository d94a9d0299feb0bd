"""Times an update of attention transfer, and one with a teacher's predictions, against one of finetuning.

Usage: python benchmarks/transfer_step.py [--output FILE.md]

Sizes and batches are those of examples/t2r: 2,048 tokens, 64 features, transfer by KL, a teacher with softmax attention
of the same sizes. All sides do a forward pass, a backward pass and a step of Adam, in turns.
"""

from __future__ import annotations

import argparse
from typing import Callable, NamedTuple

import torch
from fairseq.criterions.adaptive_loss import AdaptiveLoss
from fairseq.criterions.label_smoothed_cross_entropy import LabelSmoothedCrossEntropyCriterion
from timing import THREADS, environment, markdown_table, median_milliseconds, output_parser, tell

from fairseq_lite.building import build_architecture, task_of_sizes
from fairseq_lite.criterions.with_distillation import Recorded
from fairseq_lite.distillation.losses import distance_from
from fairseq_lite.tasks.attention_transfer import AttentionDistance
from fairseq_lite.tasks.finetune import trainable_parameters

REPETITIONS = 9
TOKENS = 2048
# in a dictionary, after the special entries
FIRST_WORD = 4


class Work(NamedTuple):
    """A model with softmax attention, its sizes, and what is finetuned: it with linear attention by these options."""

    architecture: str
    sizes: str
    vocabulary: int
    length: int
    linear: str = ""


LANGUAGE_MODEL = (
    "--decoder-layers 4 --decoder-attention-heads 4 --decoder-normalize-before"
    " --decoder-embed-dim 128 --decoder-input-dim 128 --decoder-output-dim 128 --decoder-ffn-embed-dim 512"
    " --adaptive-input --adaptive-input-cutoff 2000,10000 --adaptive-softmax-cutoff 2000,10000 --tie-adaptive-weights"
)
TRANSLATOR = "--share-all-embeddings" + "".join(
    f" --{side}-embed-dim 128 --{side}-ffn-embed-dim 256 --{side}-layers 3 --{side}-attention-heads 4"
    f" --{side}-normalize-before"
    for side in ("encoder", "decoder")
)
TRANSLATION = Work("transformer", TRANSLATOR, vocabulary=6000, length=16)
WORKS = {
    "language model": Work("transformer_lm", LANGUAGE_MODEL, vocabulary=33278, length=256),
    "translation, past linear": TRANSLATION,
    "translation, past and source linear": TRANSLATION._replace(linear="--linear-attention causal,cross"),
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


def build(architecture: str, options: str, vocabulary: int) -> torch.nn.Module:
    """A model with the random weights that a training would start from."""
    torch.manual_seed(1)
    return build_architecture(architecture, options.split(), vocabulary).train()


def taught(criterion, teacher: torch.nn.Module):
    """A criterion whose loss is half the distance from a teacher's predictions; no word is padding."""

    def loss(model: torch.nn.Module, batch: dict) -> tuple:
        call = Recorded(model)
        own = criterion(call, batch)[0]
        with torch.no_grad():
            output = call.repeated(teacher)[0].flatten(0, 1)
        return ((own + distance_from([(teacher, output)], (model, call.output[0].flatten(0, 1)), 1.0, None)) / 2,)

    return loss


def steps(work: Work) -> list[Callable[[], object]]:
    """Of one model a finetuning step, one with a teacher, and a transfer step."""
    model = build(f"t2r_{work.architecture}_exp", f"{work.sizes} {work.linear}", work.vocabulary)
    teacher = build(work.architecture, work.sizes, work.vocabulary).eval().requires_grad_(False)
    task = argparse.Namespace(**vars(task_of_sizes(work.vocabulary, work.vocabulary)))
    translates = hasattr(model, "encoder")
    finetune = LabelSmoothedCrossEntropyCriterion(task, False, 0.1) if translates else AdaptiveLoss(task, False)
    batch = sample(work.vocabulary, work.length, translates)

    def step(criterion, which: str) -> Callable[[], object]:
        optimizer = torch.optim.Adam(trainable_parameters(model, which), lr=1e-6)

        def run():
            model.zero_grad()
            criterion(model, batch)[0].backward()
            optimizer.step()

        return run

    transfer = AttentionDistance("kl", task.target_dictionary.pad())
    return [step(finetune, "all"), step(taught(finetune, teacher), "all"), step(transfer, "feature-maps")]


def main() -> None:
    args = output_parser(__doc__).parse_args()
    torch.set_num_threads(THREADS)
    rows = []
    for name, work in WORKS.items():
        finetuning, *others = median_milliseconds(steps(work), REPETITIONS)
        ratios = [f"{milliseconds:.0f} ({milliseconds / finetuning:.2f})" for milliseconds in others]
        rows.append([name, f"{finetuning:.0f}", *ratios])
    header = ["model", "finetuning, ms", "with a teacher (ratio)", "transfer (ratio)"]
    tell(f"{environment()}, medians of {REPETITIONS}\n\n{markdown_table(header, rows)}", args.output)


if __name__ == "__main__":
    main()
