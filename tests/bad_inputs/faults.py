"""Faulty files: a table of faults, each of which turns a good checkpoint into a bad one.

A fault takes (good file, path to write, random numbers). It leaves at the path what a user could have there.
"""

import hashlib
import json
import os
import pickle
import random
import zipfile
from pathlib import Path

import numpy as np
import torch


def missing(good, path, rng):
    """Nothing is written."""


def folder(good, path, rng):
    path.mkdir()


def empty(good, path, rng):
    path.write_bytes(b"")


def text(good, path, rng):
    path.write_text("\n".join(f"line {rng.random()}" for _ in range(rng.randint(1, 50))))


def noise(good, path, rng):
    path.write_bytes(rng.randbytes(rng.randint(1, 5000)))


def truncated(good, path, rng):
    content = good.read_bytes()
    path.write_bytes(content[: rng.randrange(1, len(content) - 1)])


def flipped_bit(good, path, rng):
    """One bit of a member of the archive, which zip's checksums cover."""
    content = bytearray(good.read_bytes())
    with zipfile.ZipFile(good) as archive:
        member = rng.choice([entry for entry in archive.infolist() if entry.compress_size > 64])
    # the local header is 30 bytes, the name and an extra field, whose length stands at byte 28
    name, extra = (int.from_bytes(content[member.header_offset + at :][:2], "little") for at in (26, 28))
    start = member.header_offset + 30 + name + extra
    content[start + rng.randrange(member.compress_size)] ^= 1 << rng.randrange(8)
    path.write_bytes(bytes(content))


def archive_of_another_kind(good, path, rng):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("word/document.xml", "<document/>" * rng.randint(1, 9))


def numpy_archive(good, path, rng):
    with open(path, "wb") as file:
        np.savez(file, weight=np.zeros(rng.randint(1, 9)))


class Command:
    """What a pickle that runs a command holds."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return os.mkdir, (str(self.mark),)


def harmful_pickle(good, path, rng):
    save = rng.choice([torch.save, lambda content, to: Path(to).write_bytes(pickle.dumps(content))])
    save({"model": {}, "cfg": Command(path.with_name("harm"))}, path)


def changed(good, path, change):
    content = torch.load(good)
    change(content)
    torch.save(content, path)


def without_model(good, path, rng):
    changed(good, path, lambda content: content.pop("model"))


def without_options(good, path, rng):
    changed(good, path, lambda content: content.pop("cfg"))


def another_object(good, path, rng):
    torch.save(rng.choice([[1, 2], "text", 3, None, {"a": torch.zeros(2)}, torch.zeros(3)]), path)


def weight_of(content, rng):
    names = [name for name, weight in content["model"].items() if weight.is_floating_point() and weight.dim() == 2]
    return rng.choice(sorted(names))


def not_finite(good, path, rng):
    def change(content):
        weight = content["model"][weight_of(content, rng)]
        weight.view(-1)[rng.randrange(weight.numel())] = rng.choice([float("nan"), float("inf"), -float("inf")])

    changed(good, path, change)


def weight_missing(good, path, rng):
    changed(good, path, lambda content: content["model"].pop(weight_of(content, rng)))


def weight_of_another_shape(good, path, rng):
    def change(content):
        name = weight_of(content, rng)
        content["model"][name] = torch.zeros(rng.randint(1, 5), 3)

    changed(good, path, change)


def unknown_architecture(good, path, rng):
    def change(content):
        content["cfg"]["model"]._name = content["cfg"]["model"].arch = f"transformer_{rng.randrange(99)}"

    changed(good, path, change)


def option_that_runs_code(good, path, rng):
    def change(content):
        option = rng.choice(["adaptive_softmax_cutoff", "adaptive_input_cutoff"])
        setattr(content["cfg"]["model"], option, f"__import__('os').mkdir({str(path.with_name('harm'))!r})")

    changed(good, path, change)


def option_of_another_type(good, path, rng):
    def change(content):
        option = rng.choice(["encoder_layers", "decoder_embed_dim", "encoder_attention_heads"])
        setattr(content["cfg"]["model"], option, rng.choice(["many", [1], 0, -3, {"a": 1}]))

    changed(good, path, change)


READING = {
    fault.__name__: fault
    for fault in (
        *(missing, folder, empty, text, noise, truncated, flipped_bit, archive_of_another_kind, numpy_archive),
        *(harmful_pickle, without_model, without_options, another_object, not_finite, weight_missing),
        *(weight_of_another_shape, unknown_architecture, option_that_runs_code, option_of_another_type),
    )
}


def bert_config(good, path, rng):
    """A folder of transformers whose configuration is damaged."""
    path.mkdir()
    (path / "vocab.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\n")
    config = {"model_type": rng.choice(["bert", "gpt2", 7]), "hidden_size": rng.choice([-1, 0, "x", None, 10**12])}
    (path / "config.json").write_text(rng.choice([json.dumps(config), "{", "[]", ""]))


def seeded(seed):
    return random.Random(seed)


def digests(folder):
    """Every file of a folder by its content."""
    return {
        str(path): hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "folder"
        for path in sorted(Path(folder).rglob("*"))
    }
