"""The table and the picture of a pipeline.

Usage: python summary.py OUT NAME ... [--plot FILE.png]

OUT/NAME.json is what measure.py wrote; the first is what the others are compared with. Prints a markdown table.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

HEADER = ["step", "bytes", "times smaller", "Mult-Adds", "tokens/s", "times faster", "memory", "BLEU", "difference"]


def table(steps: dict[str, dict]) -> str:
    """A line for each step; sizes, speed and BLEU against the first's."""
    first = next(iter(steps.values()))
    speed = {name: step["tokens"] / step["seconds"] for name, step in steps.items()}
    start = next(iter(speed.values()))
    lines = [HEADER, ["---"] * len(HEADER)]
    for name, step in steps.items():
        lines.append(
            [
                name,
                f"{step['bytes']:,}",
                f"{first['bytes'] / step['bytes']:.1f}",
                f"{step['mult_adds'] / 1e6:.1f} M" if "mult_adds" in step else "",
                f"{speed[name]:.0f}",
                f"{speed[name] / start:.1f}",
                f"{step['memory'] / 1e6:.0f} MB",
                f"{step['bleu']:.2f}",
                f"{step['bleu'] - first['bleu']:+.2f}",
            ]
        )
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def plot(steps: dict[str, dict], path: Path) -> None:
    """Speed over bytes, from the first step to the last, each with its BLEU."""
    from matplotlib import pyplot

    figure, axis = pyplot.subplots(figsize=(8, 4.5), layout="constrained")
    sizes = [step["bytes"] / 1e6 for step in steps.values()]
    speeds = [step["tokens"] / step["seconds"] for step in steps.values()]
    axis.plot(sizes, speeds, "o-")
    for number, (name, step) in enumerate(steps.items()):
        # above and below in turns, as neighbours lie close
        place = (6, -28) if number % 2 else (6, 8)
        label = f"{name}\nBLEU {step['bleu']:.1f}"
        axis.annotate(label, (sizes[number], speeds[number]), place, textcoords="offset points")
    axis.set(xscale="log", yscale="log", xlabel="megabytes of the model", ylabel="tokens/s, one thread, beam 4")
    axis.xaxis.set_major_formatter("{x:g}")
    axis.yaxis.set_major_formatter("{x:g}")
    axis.margins(0.2)
    axis.invert_xaxis()
    axis.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, metavar="OUT")
    parser.add_argument("names", nargs="+", metavar="NAME")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="picture to write")
    args = parser.parse_args()
    steps = {name: json.loads((args.out / f"{name}.json").read_text()) for name in args.names}
    print(table(steps))
    if args.plot:
        plot(steps, args.plot)


if __name__ == "__main__":
    main()
