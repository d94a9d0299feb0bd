"""The last screen of the quick start: BLEU, Mult-Adds, a few translations, and where everything is.

Usage: summary.py OUT, the folder that run.sh fills.
"""

import argparse
import json
from pathlib import Path

from rich.console import Console
from rich.table import Table
from sacrebleu.metrics import BLEU

PLACES = {
    "raw/": "the corpus, one string a line",
    "binary/": "what fairseq-preprocess made of it",
    "model.pt": "the model, for --path of fairseq's commands",
    "subwords.model": "its subwords, for --sentencepiece-model",
    "train.log": "losses of the training",
    "translation.de": "translations of raw/test.en; their scores are in test.log",
}
COUNTS = {
    "mult_adds": "Mult-Adds (30 to 30 tokens)",
    "parameters_without_embeddings": "Parameters, no embeddings",
}


def read_lines(path):
    return path.read_text(encoding="utf-8").splitlines()


def measures(out):
    """A table of the model beside copying the source and beside the Transformer it is compared with."""
    reference = [read_lines(out / "reference.de")]
    bleu = BLEU()
    translated = bleu.corpus_score(read_lines(out / "translation.de"), reference).score
    copied = bleu.corpus_score(read_lines(out / "raw/test.en"), reference).score
    lite, transformer = (
        json.loads((out / name).read_text()) for name in ("mult-adds.json", "mult-adds-transformer.json")
    )
    table = Table(title=f"English to German, {len(reference[0])} unseen strings")
    table.add_column("")
    for heading in ("Lite Transformer", "Transformer", "copied source"):
        table.add_column(heading, justify="right")
    table.add_row("BLEU", f"[bold]{translated:.1f}", "not trained", f"{copied:.1f}")
    for key, label in COUNTS.items():
        table.add_row(label, f"[bold]{lite[key] / 1e6:.1f} M", f"{transformer[key] / 1e6:.1f} M", "")
    table.caption = f"sacrebleu {bleu.get_signature()}"
    return table


def translations(out):
    """A table of the sentences that fairseq-interactive translated."""
    table = Table("English", "German", title="A few sentences")
    for row in zip(read_lines(Path(__file__).with_name("examples.en")), read_lines(out / "examples.de")):
        table.add_row(*row)
    return table


def places(out):
    """A table of where everything is."""
    table = Table(f"In {out}", "")
    for name, what in PLACES.items():
        table.add_row(name, what)
    return table


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    out = parser.parse_args().out
    console = Console()
    for table in (translations, places, measures):
        console.print(table(out))


if __name__ == "__main__":
    main()
