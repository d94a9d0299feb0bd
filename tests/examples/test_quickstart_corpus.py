"""The quick start's corpus: what is kept, how it is cleaned, and that the splits share no string."""

import json
import zipfile

import pytest
from example_scripts import example


@pytest.fixture(scope="module")
def corpus():
    return example("quickstart/corpus.py")


def make_wheel(path, components):
    with zipfile.ZipFile(path, "w") as archive:
        for component, languages in components.items():
            for language, catalogue in languages.items():
                name = f"homeassistant/components/{component}/translations/{language}.json"
                archive.writestr(name, json.dumps(catalogue))
    return path


def test_flatten_walks_to_the_leaves(corpus):
    catalogue = {"title": "Lamp", "step": {"user": {"data": {"host": "Host"}}}}
    assert list(corpus.flatten(catalogue)) == [
        (("title",), "Lamp"),
        (("step", "user", "data", "host"), "Host"),
    ]


def test_strings_are_aligned_by_component_and_key(corpus, tmp_path):
    wheel = make_wheel(
        tmp_path / "a.whl",
        {
            "lamp": {"en": {"on": "On", "off": "Off"}, "de": {"off": "Aus", "extra": "Mehr"}},
            "untranslated": {"en": {"on": "Open"}},
        },
    )
    assert list(corpus.read_strings(wheel)) == [("Off", "Aus")]


def test_clean_keeps_the_words_of_links_and_single_blanks(corpus):
    assert corpus.clean(" See [the\u00a0docs]({url})\tfor  more. ") == "See the docs for more."


@pytest.mark.parametrize(
    "english, german, lines",
    [
        ("One", "Eins", [("One", "Eins")]),
        ("One\n\nTwo", "Eins\nZwei", [("One", "Eins"), ("Two", "Zwei")]),
        ("One\nTwo", "Eins und zwei", []),
    ],
)
def test_split_lines_pairs_lines_only_when_both_sides_have_as_many(corpus, english, german, lines):
    assert list(corpus.split_lines(english, german)) == lines


@pytest.mark.parametrize(
    "english, german",
    [
        ("Turn on {name}", "{name} einschalten"),
        ("Zigbee", "Zigbee"),
        ("PSK", "Vorinstallierter Schlüssel"),
    ],
)
def test_translations_are_kept(corpus, english, german):
    assert corpus.is_translation(english, german)


@pytest.mark.parametrize(
    "english, german",
    [
        ("23:00", "23:00"),
        ("[%key:common::state::on%]", "An"),
        ("Turn on {name}", "Gerät einschalten"),
        ("word " * 61, "Wort " * 61),
        ("No", "Diese Übersetzung ist viel zu lang für ihre Quelle"),
        ("This was never translated", "This was never translated"),
    ],
)
def test_what_is_no_translation_is_dropped(corpus, english, german):
    assert not corpus.is_translation(english, german)


def test_deduplicate_keeps_the_most_frequent_translation(corpus):
    pairs = [("Light on", "Licht ein"), ("Light on", "Licht an"), ("Light on", "Licht an"), ("light on.", "Lampe an.")]
    assert corpus.deduplicate(pairs) == [("Light on", "Licht an")]


@pytest.mark.parametrize("text, same", [("Turn on!", "turn  ON"), ("{name} is off.", "{name} is off")])
def test_normalise_ignores_case_and_punctuation(corpus, text, same):
    assert corpus.normalise(text) == corpus.normalise(same)


def test_split_depends_on_the_source_alone(corpus):
    sources = [f"Sensor {i}" for i in range(3000)]
    names = [corpus.split_of(source) for source in sources]
    assert names == [corpus.split_of(source.upper() + ".") for source in sources]
    assert 80 <= names.count("test") <= 160 and 80 <= names.count("valid") <= 160


def test_no_string_is_in_two_splits(corpus):
    # Every German string has three sources, and every tenth source is another's translation.
    pairs = [(f"Wort {i}" if i % 10 == 0 else f"Word {i}", f"Wort {i // 3}") for i in range(3000)]
    splits = corpus.split(pairs)
    strings = {name: {corpus.normalise(text) for pair in kept for text in pair} for name, kept in splits.items()}
    assert all(strings.values())
    assert not strings["train"] & strings["valid"]
    assert not strings["train"] & strings["test"]
    assert not strings["valid"] & strings["test"]


def test_corpus_is_written_line_by_line(corpus, tmp_path):
    catalogue = {
        language: {str(i): f"{word} {i}\n{word} {i} [link]({{url}})" for i in range(300)}
        for language, word in (("en", "Turn on"), ("de", "Schalte ein"))
    }
    wheel = make_wheel(tmp_path / "a.whl", {"lamp": catalogue})
    corpus.write(corpus.make_corpus(wheel), tmp_path / "raw")
    for name in ("train", "valid", "test"):
        english, german = ((tmp_path / f"raw/{name}.{side}").read_text().splitlines() for side in ("en", "de"))
        assert english and [line.replace("Turn on", "Schalte ein") for line in english] == german
