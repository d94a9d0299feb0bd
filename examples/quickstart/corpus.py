"""Makes an English-German corpus from the translations in the Home Assistant wheel.

Usage: corpus.py WHEEL OUT_DIR, which writes OUT_DIR/{train,valid,test}.{en,de}, one string a line.
"""

import argparse
import hashlib
import json
import re
import zipfile
from collections import Counter, defaultdict
from pathlib import Path

CATALOGUE = re.compile(r"homeassistant/components/([^/]+)/translations/en\.json")
LINK = re.compile(r"\[([^\]]*)\]\([^)]*\)")
PLACEHOLDER = re.compile(r"\{\w+\}")
MAX_WORDS = 60
MAX_RATIO = 3
MAX_COPIED_WORDS = 3
HELD_OUT_PERMILLE = {"test": 40, "valid": 40}


def flatten(catalogue, path=()):
    """Yields ``(path, string)`` for every leaf of a nested catalogue."""
    for key, value in catalogue.items():
        if isinstance(value, dict):
            yield from flatten(value, path + (key,))
        else:
            yield path + (key,), value


def read_strings(wheel):
    """Yields the aligned ``(english, german)`` strings: same component, same key."""
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        for name in sorted(filter(CATALOGUE.fullmatch, names)):
            translated = name.replace("/en.json", "/de.json")
            if translated in names:
                german = dict(flatten(json.loads(archive.read(translated))))
                for key, english in flatten(json.loads(archive.read(name))):
                    if key in german:
                        yield english, german[key]


def clean(text):
    """One line of plain text: links keep their words, whitespace becomes single blanks."""
    return " ".join(LINK.sub(r"\1", text).split())


def split_lines(english, german):
    """Yields the pairs of lines of two strings; none if their numbers of lines differ."""
    sides = [[line for line in map(clean, text.splitlines()) if line] for text in (english, german)]
    if len(sides[0]) == len(sides[1]):
        yield from zip(*sides)


def is_translation(english, german):
    """Whether the pair is text worth learning from: judged by letters, placeholders and lengths."""
    words, german_words = english.split(), german.split()
    longer, shorter = sorted((len(english), len(german)), reverse=True)
    return (
        any(map(str.isalpha, english))
        and "[%" not in english + german
        and Counter(PLACEHOLDER.findall(english)) == Counter(PLACEHOLDER.findall(german))
        and max(len(words), len(german_words)) <= MAX_WORDS
        and longer <= MAX_RATIO * shorter + 20
        and (english != german or len(words) <= MAX_COPIED_WORDS)
    )


def normalise(text):
    """What makes two strings the same: their letters, digits and placeholders, whatever the case."""
    return " ".join(re.findall(r"\w+", text.casefold())) or text


def deduplicate(pairs):
    """One pair for each source, with the translation that occurs most often (the first among equals)."""
    translations = defaultdict(Counter)
    for english, german in pairs:
        translations[normalise(english)][english, german] += 1
    return [counter.most_common(1)[0][0] for counter in translations.values()]


def split_of(english):
    """The split a source belongs to, by its hash, so that it does not depend on the other strings."""
    bucket = int(hashlib.sha256(normalise(english).encode()).hexdigest(), 16) % 1000
    for name, size in HELD_OUT_PERMILLE.items():
        if bucket < size:
            return name
        bucket -= size
    return "train"


def split(pairs):
    """Distributes the pairs; one with a string (of either side) that an earlier split holds is dropped."""
    splits = {"test": [], "valid": [], "train": []}
    for pair in pairs:
        splits[split_of(pair[0])].append(pair)
    taken = set()
    for name, candidates in splits.items():
        splits[name] = [pair for pair in candidates if taken.isdisjoint(map(normalise, pair))]
        taken.update(normalise(text) for pair in splits[name] for text in pair)
    return splits


def make_corpus(wheel):
    """The splits ``{name: [(english, german), ...]}`` of the corpus in a wheel."""
    lines = (line for strings in read_strings(wheel) for line in split_lines(*strings))
    return split(deduplicate(pair for pair in lines if is_translation(*pair)))


def write(splits, folder):
    """Writes ``folder/NAME.en`` and ``folder/NAME.de``, aligned line by line."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, pairs in splits.items():
        for column, language in enumerate(("en", "de")):
            text = "".join(pair[column] + "\n" for pair in pairs)
            (folder / f"{name}.{language}").write_text(text, encoding="utf-8")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("wheel", type=Path)
    parser.add_argument("folder", type=Path)
    arguments = parser.parse_args()
    splits = make_corpus(arguments.wheel)
    write(splits, arguments.folder)
    print(", ".join(f"{len(pairs)} {name}" for name, pairs in splits.items()), "string pairs")


if __name__ == "__main__":
    main()
