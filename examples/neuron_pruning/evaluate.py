"""Accuracy and macro-F1 of sentence classifiers: any checkpoint of fairseq's task sentence_prediction."""

import argparse
import json

import torch
from fairseq import checkpoint_utils
from rich.console import Console
from rich.progress import track
from sklearn.metrics import accuracy_score, f1_score

import fairseq_lite  # noqa: F401  registers the pruned architectures
from fairseq_lite.explain import one_line


def load(path, data):
    """A checkpoint's model, in evaluation mode, and its task on the binarised `data`."""
    overrides = {"data": data, "no_shuffle": True}
    models, _, task = checkpoint_utils.load_model_ensemble_and_task([path], arg_overrides=overrides)
    return models[0].eval(), task


@torch.no_grad()
def predict(model, task, split, batch_size):
    """The classes of a split's sentences as they are and as the model tells them, two lists of indices."""
    task.load_dataset(split)
    batches = task.get_batch_iterator(task.dataset(split), max_sentences=batch_size)
    head = task.cfg.classification_head_name
    told, true = [], []
    batches = list(batches.next_epoch_itr(shuffle=False))
    for batch in track(batches, split, console=Console(stderr=True), transient=True):
        logits, _ = model(**batch["net_input"], features_only=True, classification_head_name=head)
        told += logits.argmax(-1).tolist()
        true += batch["target"].view(-1).tolist()
    return true, told


def evaluate(path, data, split, batch_size):
    true, told = predict(*load(path, data), split, batch_size)
    return {
        "checkpoint": path,
        "split": split,
        "sentences": len(true),
        "accuracy": accuracy_score(true, told),
        "macro_f1": f1_score(true, told, average="macro"),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", help="folder with input0/ and label/, as fairseq-train took it")
    parser.add_argument("checkpoints", nargs="+", metavar="checkpoint")
    parser.add_argument("--split", default="test")
    parser.add_argument("--batch-size", type=int, default=64, metavar="N")
    parser.add_argument("--json", action="store_true", help="print a JSON object a line")
    args = parser.parse_args()
    for path in args.checkpoints:
        try:
            scores = evaluate(path, args.data, args.split, args.batch_size)
        except Exception as error:
            told = one_line(error)
            if told is None:
                raise
            parser.error(told)
        if args.json:
            print(json.dumps(scores), flush=True)
        else:
            print("{checkpoint} {split}: accuracy {accuracy:.3f}, macro-F1 {macro_f1:.3f}".format(**scores), flush=True)


if __name__ == "__main__":
    main()
