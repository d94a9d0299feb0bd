"""What the two parts of attention with a window give: perplexity on the validation set, of both and of each alone.

Usage: python parts.py DATA CHECKPOINT ...

DATA is the folder of fairseq-preprocess; the models have --causal-window.
"""

import argparse

from fairseq_lite.measure.perplexity import load_for_validation
from fairseq_lite.modules import WindowedLinearAttention

PARTS = ("both", "window", "linear")
MAX_TOKENS = 4096


def perplexities(data: str, checkpoint: str) -> dict[str, float]:
    """Perplexity by what is left of the attention; raises SystemExit for a model without a window."""
    model, validation = load_for_validation(checkpoint, data, "valid", MAX_TOKENS)
    windowed = [module for module in model.modules() if isinstance(module, WindowedLinearAttention)]
    if not windowed:
        raise SystemExit(f"{checkpoint}: has no attention with a window; train one with --causal-window")
    found = {}
    for parts in PARTS:
        for module in windowed:
            module.parts = parts
        found[parts] = validation.perplexity(model)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", metavar="DATA")
    parser.add_argument("checkpoints", nargs="+", metavar="CHECKPOINT")
    args = parser.parse_args()
    for checkpoint in args.checkpoints:
        found = perplexities(args.data, checkpoint)
        print(f"{checkpoint}: {', '.join(f'{parts} {value:.1f}' for parts, value in found.items())}", flush=True)


if __name__ == "__main__":
    main()
