"""The chart of README, of docs/benchmarks/result.csv: model, beam, BLEU and milliseconds a sentence.

Usage: python scripts/plot_result.py
"""

import csv
from collections import defaultdict
from pathlib import Path

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt

DOCS = Path(__file__).parents[1] / "docs"
TITLE = "BLEU against milliseconds a sentence"


def read(path):
    """By model, its rows in the order of the file."""
    rows = defaultdict(list)
    with open(path, newline="") as file:
        for row in csv.DictReader(file):
            rows[row["model"]].append(row)
    return rows


def plot(models, out):
    """A line for each model; each point is labelled with its beam."""
    # the same bytes every time, and text that stays text
    plt.rcParams.update({"svg.hashsalt": "result", "svg.fonttype": "none", "font.family": "sans-serif"})
    figure, axes = plt.subplots(figsize=(7, 3.4), layout="constrained")
    for (model, rows), marker in zip(models.items(), "os^Dv"):
        times, scores = ([float(row[key]) for row in rows] for key in ("ms", "bleu"))
        axes.plot(times, scores, marker=marker, label=model)
        for row, x, y in zip(rows, times, scores):
            axes.annotate(f"beam {row['beam']}", (x, y), xytext=(6, -11), textcoords="offset points", fontsize=8)
    axes.set(xlabel="ms of processor time a sentence", ylabel="BLEU, Multi30k test", xlim=(0, 10.5))
    axes.margins(0.12)
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="lower right", fontsize=9)
    figure.savefig(out, metadata={"Title": TITLE, "Date": None, "Creator": None})


if __name__ == "__main__":
    plot(read(DOCS / "benchmarks" / "result.csv"), DOCS / "pictures" / "result.svg")
