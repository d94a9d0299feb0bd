"""fairseq-lite export, from a checkpoint to text out of the runtime."""

import json
import math
import os

import pytest
import torch
from fairseq.data import Dictionary
from fairseq.sequence_generator import SequenceGenerator
from fairseq_lite_runtime import Classifier, Generator, InputError, Stepper, Translator
from saved import save_checkpoint, words, write_dictionary

from fairseq_lite import cli

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # hydra's, to fairseq
SOURCE, TARGET, LABELS = words(20, 1), words(24, 2), ["no", "yes"]
TINY = (
    "--encoder-embed-dim 16 --encoder-ffn-embed-dim 24 --encoder-layers 1 --encoder-attention-heads 2"
    " --decoder-embed-dim 16 --decoder-ffn-embed-dim 24 --decoder-layers 1 --decoder-attention-heads 2"
)
TRANSLATION = f"--arch transformer {TINY} --source-lang de --target-lang en --max-source-positions 30"
LANGUAGE_MODEL = (
    "--arch transformer_lm --decoder-embed-dim 16 --decoder-ffn-embed-dim 24 --decoder-layers 1"
    " --decoder-attention-heads 2 --tokens-per-sample 30"
)
ROBERTA = (
    "--arch roberta --encoder-embed-dim 16 --encoder-ffn-embed-dim 24 --encoder-layers 1"
    " --encoder-attention-heads 2 --max-positions 30 --num-classes 2 --init-token 0 --criterion sentence_prediction"
)
LINES = [" ".join(SOURCE[start:end]) for start, end in ((0, 3), (4, 12), (2, 4), (7, 13))]
PROMPTS = ["", " ".join(TARGET[:2]), TARGET[5]]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    data = tmp_path_factory.mktemp("data")
    for name, pieces in {
        "dict.de.txt": SOURCE,
        "dict.en.txt": TARGET,
        "dict.txt": TARGET,
        "input0/dict.txt": SOURCE,
        "label/dict.txt": LABELS,
    }.items():
        write_dictionary(data / name, pieces)
    return data


@pytest.fixture(scope="module")
def translation(data):
    torch.manual_seed(1)
    return data / "mt.pt", save_checkpoint(data / "mt.pt", data, "translation", TRANSLATION)


@pytest.fixture(scope="module")
def language_model(data):
    torch.manual_seed(1)
    return data / "lm.pt", save_checkpoint(data / "lm.pt", data, "language_modeling", LANGUAGE_MODEL)


@pytest.fixture(scope="module")
def classifier(data):
    torch.manual_seed(1)
    return data / "cls.pt", save_checkpoint(data / "cls.pt", data, "sentence_prediction", ROBERTA, head=2)


def export(checkpoint, folder, *options, status=0):
    assert cli.main(["export", str(checkpoint), str(folder), *map(str, options)]) == status
    return folder


def dictionary(pieces):
    dictionary = Dictionary()
    for piece in pieces:
        dictionary.add_symbol(piece)
    return dictionary


def generated(model, pieces, net_input, prefix=None, **options):
    """fairseq's best hypothesis of each sentence: (ids, score)."""
    generator = SequenceGenerator([model], dictionary(pieces), **options)
    found = generator.generate([model], {"net_input": net_input}, prefix_tokens=prefix)
    return [(best["tokens"].tolist(), float(best["score"])) for best, *_ in found]


@pytest.mark.parametrize("options", [{}, {"--portable": None}], ids=["contributed operators", "portable"])
def test_a_translation_model_translates_as_in_fairseq(translation, tmp_path, options, capsys):
    checkpoint, model = translation
    folder = export(checkpoint, tmp_path / "out", "--beam", 3, *options)
    assert "translation, 32 bits" in capsys.readouterr().out
    source = dictionary(SOURCE)
    for line, found in zip(LINES, Translator(folder, batch_size=3).hypotheses(LINES)):
        tokens = source.encode_line(line, add_if_not_exist=False).long()[None]
        ((ids, score),) = generated(
            model, TARGET, {"src_tokens": tokens, "src_lengths": torch.tensor([tokens.size(1)])}, beam_size=3
        )
        assert found[0].tokens == ids
        assert found[0].score == pytest.approx(score, abs=1e-5)
        assert found[0].text == dictionary(TARGET).string(torch.tensor(ids))


def test_a_language_model_continues_as_in_fairseq(language_model, tmp_path):
    checkpoint, model = language_model
    folder = export(checkpoint, tmp_path / "out", "--beam", 2)
    target = dictionary(TARGET)
    for prompt, found in zip(PROMPTS, Generator(folder).hypotheses(PROMPTS, max_len_b=12)):
        prefix = target.encode_line(prompt, append_eos=False).long()[None]
        start = torch.cat([torch.tensor([[target.eos()]]), prefix], dim=1)
        ((ids, score),) = generated(
            model, TARGET, {"src_tokens": start}, prefix if prefix.numel() else None, beam_size=2, max_len_b=12
        )
        assert found[0].tokens == ids
        assert found[0].score == pytest.approx(score, abs=1e-5)


def test_a_classifier_labels_as_in_fairseq(classifier, tmp_path):
    checkpoint, model = classifier
    found = Classifier(export(checkpoint, tmp_path / "out")).log_probabilities(LINES)
    source = dictionary(SOURCE)
    for line, scores in zip(LINES, found):
        tokens = torch.cat([torch.tensor([0]), source.encode_line(line, add_if_not_exist=False).long()])[None]
        logits = model(tokens, features_only=True, classification_head_name="sentence_classification_head")[0]
        assert scores.tolist() == pytest.approx(logits.log_softmax(-1)[0].tolist(), abs=1e-5)


@torch.no_grad()
def test_a_step_graph_scores_samples_and_streams(language_model, tmp_path):
    checkpoint, model = language_model
    stepper = Stepper(export(checkpoint, tmp_path / "out", "--step", "--beam", 1))
    target = dictionary(TARGET)
    lines = [" ".join(TARGET[:7]), "", " ".join(TARGET[3:6])]
    total, count = 0.0, 0
    for line, found in zip(lines, stepper.score(lines)):
        ids = target.encode_line(line).long()
        before = torch.cat([torch.tensor([target.eos()]), ids[:-1]])
        scores = model.get_normalized_probs(model(before[None]), True)[0].gather(1, ids[:, None])[:, 0]
        assert found.tolist() == pytest.approx(scores.tolist(), abs=1e-5, rel=1e-5)
        total, count = total + float(scores.sum()), count + len(ids)
    assert stepper.perplexity(lines) == pytest.approx(math.exp(-total / count), rel=1e-5)
    options = {"prompt": TARGET[0], "seed": 3, "temperature": 1.5, "top_k": 5, "max_len": 12}
    parts = list(stepper.stream(**options))
    assert parts[0] == TARGET[0] and len(parts) > 2
    assert stepper.sample(**options) == "".join(parts)
    for wrong in ({"temperature": -1}, {"top_k": 0}, {"max_len": 0}, {"source": "a"}):
        with pytest.raises(InputError, match=next(iter(wrong))):
            stepper.sample(**wrong)
    greedy = Generator(tmp_path / "out").generate([TARGET[0]], max_len_b=12)[0]
    assert stepper.sample(prompt=TARGET[0], temperature=0, max_len=12) == greedy


def test_a_step_graph_scores_translations_as_the_whole_graph(translation, tmp_path):
    folder = export(translation[0], tmp_path / "out", "--step", "--beam", 2)
    assert (folder / "weights.bin").exists()
    found = [hypotheses[0] for hypotheses in Translator(folder).hypotheses(LINES)]
    scores = Stepper(folder).score([hypothesis.text for hypothesis in found], LINES)
    assert [row.mean() for row in scores] == pytest.approx([hypothesis.score for hypothesis in found], abs=1e-5)


def test_the_folder_has_the_pieces_and_tells_what_it_is(translation, tmp_path):
    folder = export(translation[0], tmp_path / "out")
    specials = ["<s>", "<pad>", "</s>", "<unk>"]
    vocabulary = json.loads((folder / "vocab.json").read_text())
    assert vocabulary == {"source": specials + SOURCE, "target": specials + TARGET}
    config = json.loads((folder / "config.json").read_text())
    expected = {"format": 1, "kind": "translation", "bits": 32, "architecture": "transformer", "max_source": 30}
    assert expected.items() <= config.items()
    assert config["options"] == {"beam": 5} and config["mult_adds"] > 0


@pytest.fixture(scope="module")
def without_head(data):
    return (save_checkpoint(data / "none.pt", data, "sentence_prediction", ROBERTA) and data / "none.pt",)


@pytest.mark.parametrize(
    "which, options, message",
    [
        ("translation", ["--beam", 0], "--beam 0: must be at least 1"),
        ("translation", ["--shortlist", 0], "--shortlist 0: must be at least 1"),
        ("translation", ["--shortlist", 9], "has no train.de-en, of which a shortlist is learnt"),
        ("language_model", ["--shortlist", 9], "--shortlist 9: only a translator has source words; leave it out"),
        ("translation", ["--data", "away"], "--data away/dict.de.txt: no such file"),
        ("translation", ["--spm", "away"], "--spm away: no such file"),
        ("translation", ["--bit", 8], "--bit 8: unknown argument"),
        (
            "language_model",
            ["--dict-src", "x"],
            "--dict-src: a model of the kind language_model has no such dictionary",
        ),
        ("classifier", ["--beam", 2], "--beam: a classifier has none; leave it out"),
        ("without_head", [], "none.pt: has 0 classification heads; an encoder with one is exported"),
        ("classifier", ["--step"], "--step: a classifier has none; leave it out"),
    ],
)
def test_options_that_cannot_take_effect_are_refused_and_nothing_is_written(
    request, tmp_path, capsys, which, options, message
):
    export(request.getfixturevalue(which)[0], tmp_path / "out", *options, status=2)
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
    assert os.listdir(tmp_path) == []
