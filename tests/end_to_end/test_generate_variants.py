"""fairseq's ways of generating and scoring, for each family of models.

Each output equals that of another path, or what the models say of whole sentences by hand. The models have random
weights, for equality needs no training, and run in this process.
"""

import contextlib
import functools
import io
import re
from collections import defaultdict

import pytest
from fairseq import options
from fairseq_cli import eval_lm, generate
from untrained import ByHand, binarise, configured, shrink, write_untrained

TINY_LM = "--dropout 0 --decoder-layers 2 --decoder-embed-dim 16 --decoder-attention-heads 2"
TINY = TINY_LM + " --encoder-layers 2 --encoder-embed-dim 16 --encoder-attention-heads 2"
KERNELS = " --encoder-kernel-sizes 3,5 --decoder-kernel-sizes 3,5 --encoder-conv-heads 2 --decoder-conv-heads 2"
TRANSLATORS = {
    "lite": ("lite_transformer", TINY + KERNELS),
    "t2r": ("t2r_transformer", TINY),
    "evolved": ("evolved_transformer", TINY),
    "shrunk": ("transformer", TINY + " --encoder-ffn-embed-dim 24 --decoder-ffn-embed-dim 24"),
}
LANGUAGE_MODELS = {
    "lite_lm": ("lite_transformer_lm", TINY_LM + " --decoder-kernel-sizes 3,5 --decoder-conv-heads 2"),
    "t2r_lm": ("t2r_transformer_lm", TINY_LM + " --decoder-ffn-embed-dim 24"),
}
LONGEST = 9
# A language model continues the first words of each sentence.
PREFIX = 2
CLOSE = dict(rel=1e-4, abs=1e-4)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    binarise(folder)
    return folder


class Models(dict):
    """Two paths for each family, made when first asked for: the model, and another one for ensembles."""

    def __init__(self, data, folder):
        self.data, self.folder = data, folder

    def __missing__(self, name):
        arch, text = {**TRANSLATORS, **LANGUAGE_MODELS}[name]
        paths = [str(self.folder / f"{name}{number}.pt") for number in (1, 2)]
        write_untrained(self.data, arch, text, paths)
        self[name] = [shrink(path) for path in paths] if name == "shrunk" else paths
        return self[name]


@pytest.fixture(scope="module")
def models(data, tmp_path_factory):
    return Models(data, tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def lines(models, data):
    """Runs fairseq-generate; returns the fields of its lines by kind (H, P, A) and sentence, best hypothesis first."""

    @functools.cache
    def run(name, text="", path=None):
        mode = "--task translation"
        if name in LANGUAGE_MODELS:
            mode = f"--task language_modeling --sample-break-mode eos --prefix-size {PREFIX}"
        text = f"{mode} --cpu --max-len-a 0 --max-len-b {LONGEST} --beam 4 --batch-size 8 {text}"
        given = [data / ("lm" if name in LANGUAGE_MODELS else "mt"), "--path", path or models[name][0], *text.split()]
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            generate.main(configured(options.get_generation_parser(), given))
        found = defaultdict(lambda: defaultdict(list))
        for kind, number, rest in re.findall(r"^([HPA])-(\d+)\t(.*)$", printed.getvalue(), re.MULTILINE):
            found[kind][int(number)].append(rest.split("\t"))
        return found

    return run


@pytest.fixture(scope="module")
def by_hand(models, data):
    return functools.cache(lambda name, number=1: ByHand(data, name, *models[name][:number]))


def hypotheses(found):
    return {number: [fields[1] for fields in rows] for number, rows in found["H"].items()}


def scores(found):
    return {number: [float(fields[0]) for fields in rows] for number, rows in found["H"].items()}


def assert_same(first, second):
    assert hypotheses(first) == hypotheses(second) and first["H"]
    for number, found in scores(first).items():
        assert found == pytest.approx(scores(second)[number], **CLOSE)


# Two ways to the same hypotheses and scores.
WAYS = {
    "alone and batched": ("--nbest 4 --batch-size 1", "--nbest 4"),
    "sampling of the best word": ("--sampling --sampling-topk 1 --beam 1", "--beam 1"),
    "sampling with a seed": ("--sampling --seed 7 --nbest 4", "--nbest 4 --seed 7 --sampling"),
}


@pytest.mark.parametrize("ways", WAYS)
@pytest.mark.parametrize("name", [*TRANSLATORS, *LANGUAGE_MODELS])
def test_two_ways_to_the_same(name, ways, lines):
    first, second = WAYS[ways]
    assert_same(lines(name, first), lines(name, second))


def another_seed(name, lines, models, by_hand):
    first, second = (lines(name, f"--sampling --seed {seed} --nbest 4") for seed in (7, 8))
    assert hypotheses(first) != hypotheses(second)


def best_of_many(name, lines, models, by_hand):
    assert hypotheses(lines(name)) == {
        number: texts[:1] for number, texts in hypotheses(lines(name, "--nbest 4")).items()
    }


def ensemble_of_copies(name, lines, models, by_hand):
    path = models[name][0]
    assert_same(lines(name, "--nbest 4", f"{path}:{path}"), lines(name, "--nbest 4"))


def score_of_reference(name, lines, models, by_hand):
    for number, paths in ((1, models[name][0]), (2, ":".join(models[name]))):
        hand = by_hand(name, number)
        for sentence, (score,) in scores(lines(name, "--score-reference", paths)).items():
            symbols = [hand.words.eos(), *hand.targets[sentence].tolist()]
            assert score == pytest.approx(hand.score(sentence, symbols).mean().item(), **CLOSE)


def length_penalty(name, lines, models, by_hand):
    """A score is the sum over the words, divided by a power of their number; fairseq prints four digits of each."""
    found = lines(name, "--nbest 4 --lenpen 2")
    for number, rows in scores(found).items():
        words = [[*map(float, fields[0].split())] for fields in found["P"][number]]
        assert rows == pytest.approx([sum(row) / len(row) ** 2 for row in words], abs=2e-3)


def prefix(name, lines, models, by_hand):
    references = hypotheses(lines(name, "--score-reference"))
    for number, (text,) in hypotheses(lines(name, f"--prefix-size {PREFIX}")).items():
        assert text.split()[:PREFIX] == references[number][0].split()[:PREFIX]


def lengths(found):
    """Numbers of words, by their scores: a text leaves out the symbols of the start, and the last one is the end."""
    return [len(fields[0].split()) - 1 for rows in found["P"].values() for fields in rows]


def shortest(name, lines, models, by_hand):
    sampled = "--sampling --temperature 5 --seed 7 --nbest 4"
    assert min(lengths(lines(name, sampled))) < LONGEST
    assert set(lengths(lines(name, f"{sampled} --min-len {LONGEST}"))) == {LONGEST}


def unknown_words(name, lines, models, by_hand):
    begin = PREFIX if name in LANGUAGE_MODELS else 0
    for (text,) in hypotheses(lines(name, "--unkpen -100")).values():
        assert set(text.split()[begin:]) == {"<unk>"}


def greedy_texts(name, hand, numbers, blocked):
    starts = {number: hand.targets[number][:PREFIX].tolist() if name in LANGUAGE_MODELS else [] for number in numbers}
    return {number: [hand.greedy(number, start, LONGEST, blocked)] for number, start in starts.items()}


def greedy(name, lines, models, by_hand):
    found = hypotheses(lines(name, "--beam 1"))
    assert found == greedy_texts(name, by_hand(name), found, lambda words: [])


def repeating(words):
    """The words that would repeat two neighbours."""
    return [second for first, second in zip(words, words[1:]) if first == words[-1]]


def no_repeats(name, lines, models, by_hand):
    found = hypotheses(lines(name, "--beam 1 --no-repeat-ngram-size 2"))
    assert found == greedy_texts(name, by_hand(name), found, repeating)
    assert found != hypotheses(lines(name, "--beam 1"))


def diverse_groups(name, lines, models, by_hand):
    """Of two groups with one beam each the first searches greedily, and the second finds something else."""
    # fairseq finds the groups of a sentence by its number in the data set, so all are in one batch
    groups = hypotheses(lines(name, "--beam 2 --nbest 2 --diverse-beam-groups 2 --diverse-beam-strength 100"))
    for number, (text,) in hypotheses(lines(name, "--beam 1")).items():
        assert text in groups[number] and len(set(groups[number])) == 2


def hard_alignment(name, lines, models, by_hand):
    soft, hard = lines(name, "--print-alignment soft"), lines(name, "--print-alignment hard")
    for number, ((rows,),) in soft["A"].items():
        weights = [list(map(float, row.split(","))) for row in rows.split()]
        for pair in hard["A"][number][0][0].split():
            source, target = map(int, pair.split("-"))
            # a word is aligned with words, not with the end of the sentence
            assert weights[target][source] == pytest.approx(max(weights[target][:-1]), abs=2e-3)


VARIANTS = [another_seed, best_of_many, ensemble_of_copies, score_of_reference, length_penalty, prefix]
VARIANTS += [shortest, unknown_words, greedy, no_repeats, diverse_groups]


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("name", [*TRANSLATORS, *LANGUAGE_MODELS])
def test_every_family(name, variant, lines, models, by_hand):
    variant(name, lines, models, by_hand)


@pytest.mark.parametrize("name", TRANSLATORS)
def test_hard_alignment(name, lines, models, by_hand):
    hard_alignment(name, lines, models, by_hand)


@pytest.fixture
def loss(data):
    """Runs fairseq-eval-lm; returns its loss to base 2."""

    def run(path, text):
        given = [data / "lm", "--path", path, "--cpu", "--max-tokens", 200, *text.split()]
        return float(eval_lm.main(configured(options.get_eval_lm_parser(), given))["loss"])

    return run


def of_sentences(hand, start):
    """The mean over every sentence behind the symbols of `start`."""
    found = [hand.score(number, [*start, *hand.targets[number].tolist()]) for number in range(len(hand.targets))]
    return [score for row in found for score in row[len(start) - 1 :].tolist()]


def of_windows(hand, block, window):
    """All sentences in one row, in blocks that see `window` words before them."""
    row = [hand.words.eos(), *(word for sentence in hand.targets for word in sentence.tolist())]
    found = []
    for begin in range(0, len(row) - 1, block):
        seen = row[max(0, begin - window) : begin + block + 1]
        found += hand.score(0, seen)[min(begin, window) :].tolist()
    return found


EOS = "--sample-break-mode eos"
LOSSES = {
    "a sentence alone": (f"{EOS} --max-sentences 1", lambda hand: of_sentences(hand, [hand.words.eos()])),
    "sentences in a batch": (f"{EOS} --max-sentences 12", lambda hand: of_sentences(hand, [hand.words.eos()])),
    "softmax in pieces": (f"{EOS} --softmax-batch 3", lambda hand: of_sentences(hand, [hand.words.eos()])),
    "a symbol of the start": (
        f"{EOS} --add-bos-token",
        lambda hand: of_sentences(hand, [hand.words.bos(), hand.words.eos()]),
    ),
    "a window of context": ("--context-window 4 --tokens-per-sample 7", lambda hand: of_windows(hand, 3, 4)),
    "blocks without context": ("--tokens-per-sample 7", lambda hand: of_windows(hand, 7, 0)),
}


@pytest.mark.parametrize("case", LOSSES)
@pytest.mark.parametrize("name", LANGUAGE_MODELS)
def test_losses_by_hand(name, case, loss, models, by_hand):
    text, find = LOSSES[case]
    found = find(by_hand(name))
    assert loss(models[name][0], text) == pytest.approx(-sum(found) / len(found), **CLOSE)
