"""The chart of README, of docs/benchmarks/result.csv: model, beam, BLEU, and milliseconds a sentence by the batch.

Usage: python scripts/plot_result.py
"""

import csv
from collections import defaultdict
from pathlib import Path

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt

DOCS = Path(__file__).parents[1] / "docs"
BATCHES = ("batch 1", "batch 16")
TITLE = "BLEU against milliseconds a sentence"


def read(path):
    """By model, its rows in the order of the file."""
    rows = defaultdict(list)
    with open(path, newline="") as file:
        for row in csv.DictReader(file):
            rows[row["model"]].append(row)
    return rows


def plot(models, out):
    """A panel for each batch, a line for each model through the points of its beams."""
    # the same bytes every time, and text that stays text
    plt.rcParams.update({"svg.hashsalt": "result", "svg.fonttype": "none", "font.family": "sans-serif"})
    figure, panels = plt.subplots(1, 2, figsize=(8, 3.6), sharey=True, layout="constrained")
    for batch, axes in zip(BATCHES, panels):
        for (model, rows), marker in zip(models.items(), "os^Dv"):
            times, scores = ([float(row[key]) for row in rows] for key in (batch, "bleu"))
            axes.plot(times, scores, marker=marker, label=model)
        axes.set(xlabel=f"ms of processor time a sentence, {batch}", xlim=(0, None))
        axes.margins(x=0.1)
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    panels[0].set_ylabel("BLEU, Multi30k test; beams 1 and 4")
    figure.legend(
        *panels[0].get_legend_handles_labels(), frameon=False, loc="outside upper center", ncols=2, fontsize=9
    )
    figure.savefig(out, metadata={"Title": TITLE, "Date": None, "Creator": None})


if __name__ == "__main__":
    plot(read(DOCS / "benchmarks" / "result.csv"), DOCS / "pictures" / "result.svg")
