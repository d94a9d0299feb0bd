"""Prints the options of fairseq-train that finetune a checkpoint; sizes are taken from it.

Usage: python continuing.py CHECKPOINT [--recurrent]

With --recurrent the decoder's attention to its past becomes linear.
"""

import argparse

from fairseq_lite.checkpoints import architecture_of, model_options, read_checkpoint

PRUNED = "pruned_"
LINEAR = "--causal-feature-dim 64 --linear-attention causal"


def options(checkpoint: str, recurrent: bool) -> str:
    """The options, as words of a command line; raises SystemExit for a model that cannot become recurrent."""
    name = architecture_of(model_options(read_checkpoint(checkpoint), checkpoint))
    prefix = PRUNED if name.startswith(PRUNED) else ""
    model, linear = name[len(prefix) :], ""
    if recurrent and model.startswith("lite_transformer"):
        linear = f" --decoder-feature-map exp {LINEAR}"
    elif recurrent and model.startswith("transformer"):
        model, linear = "t2r_transformer", f" --feature-map exp {LINEAR}"
    elif recurrent:
        raise SystemExit(f"{checkpoint}: architecture {name}: only a transformer or lite_transformer becomes recurrent")
    widths = f" --pruned-widths {checkpoint}" if prefix else ""
    return f"--task finetune_translation --pretrained {checkpoint} --arch {prefix}{model}{widths}{linear}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", metavar="CHECKPOINT")
    parser.add_argument("--recurrent", action="store_true", help="make attention to the past linear")
    args = parser.parse_args()
    print(options(args.checkpoint, args.recurrent))


if __name__ == "__main__":
    main()
