"""The table and the pictures of what sweep.sh made: macro-F1 over sparsity, with latency and bytes, and over epochs."""

import argparse
import json
import os
import re

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot  # noqa: E402

PHASES = {"neurons-60-in-1": 1, "neurons-60": 10, "neurons-60-in-25": 25}


def macro_f1(folder):
    with open(os.path.join(folder, "test.json"), encoding="utf-8") as file:
        return json.load(file)["macro_f1"]


def macro_f1_by_epoch(folder):
    with open(os.path.join(folder, "valid.jsonl"), encoding="utf-8") as lines:
        return [json.loads(line)["macro_f1"] for line in lines]


def read(out):
    """All that is known of each model, by its name: F1, bytes of its file, and times where it was timed."""
    models = {}
    for name in sorted(os.listdir(out), key=lambda name: (name != "dense", name)):
        folder = os.path.join(out, name)
        if os.path.exists(os.path.join(folder, "test.json")):
            files = [os.path.join(folder, file) for file in ("shrunk.pt", "model.pt")]
            path = next(file for file in files if os.path.exists(file))
            models[name] = {"f1": macro_f1(folder), "bytes": os.path.getsize(path)}
    with open(os.path.join(out, "latency.json"), encoding="utf-8") as file:
        for row in json.load(file)["latencies"]:
            name = os.path.basename(os.path.dirname(row["checkpoint"]))
            models[name][row["batch_size"]] = (row["median_ms"], row["p90_ms"], row["speed_up"])
    return models


def print_table(models):
    dense = models["dense"]["f1"]
    print("| model | macro-F1 | against dense | MB | batch 1: ms (p90), speed-up | batch 32: ms (p90), speed-up |")
    print("| --- | --- | --- | --- | --- | --- |")
    for name, model in models.items():
        times = ["{:.2f} ({:.2f}), {:.2f}".format(*model[size]) if size in model else "" for size in (1, 32)]
        relative = f"{100 * (model['f1'] / dense - 1):+.1f} %"
        print(f"| {name} | {model['f1']:.3f} | {relative} | {model['bytes'] / 1e6:.1f} | {times[0]} | {times[1]} |")


def points(models, kind):
    """Sparsity in percent, and model, of the models called KIND-PERCENT, after the dense one."""
    found = [(int(match[1]), name) for name in models if (match := re.fullmatch(kind + r"-(\d+)", name))]
    return [(0, models["dense"]), *((percent, models[name]) for percent, name in sorted(found))]


def plot_tradeoff(models, path):
    """macro-F1 over sparsity, and below it milliseconds."""
    figure, (scores, times) = pyplot.subplots(2, 1, figsize=(6.4, 5.6), sharex=True, layout="constrained")
    for kind, style in (("neurons", "o-"), ("weights", "s--")):
        percents, found = zip(*points(models, kind))
        if len(found) > 1:
            scores.plot(percents, [model["f1"] for model in found], style, label=f"{kind} pruned")
    percents, found = zip(*points(models, "neurons"))
    for size, style in ((1, "^-"), (32, "v-")):
        times.plot(percents, [model[size][0] for model in found], style, label=f"neurons pruned, batch {size}")
    scores.set(ylabel="macro-F1 (test)", ylim=(0, 1))
    times.set(xlabel="pruned, %", ylabel="ms a sentence, one thread", ylim=(0, None))
    for axes in (scores, times):
        axes.legend(frameon=False)
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=110)


def plot_schedule(out, path):
    figure, axes = pyplot.subplots(figsize=(6.4, 3.6), layout="constrained")
    runs = {"dense": "dense", **{name: f"60 % pruned in {part}/40 of the epochs" for name, part in PHASES.items()}}
    runs = {name: label for name, label in runs.items() if os.path.exists(os.path.join(out, name, "valid.jsonl"))}
    for color, (name, label) in enumerate(runs.items()):
        scores = macro_f1_by_epoch(os.path.join(out, name))
        axes.plot(range(1, len(scores) + 1), scores, "o-", color=f"C{color}", label=label)
        if name in PHASES:
            axes.axvline(len(scores) * PHASES[name] / 40, color=f"C{color}", linestyle=":", linewidth=1)
    axes.set(xlabel="epoch (dotted: pruning ends, recovery begins)", ylabel="macro-F1 (validation)", ylim=(0, 1))
    axes.legend(loc="lower right")
    figure.savefig(path, dpi=150)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", help="folder of sweep.sh")
    out = parser.parse_args().out
    models = read(out)
    print_table(models)
    plot_tradeoff(models, os.path.join(out, "tradeoff.png"))
    plot_schedule(out, os.path.join(out, "schedule.png"))


if __name__ == "__main__":
    main()
