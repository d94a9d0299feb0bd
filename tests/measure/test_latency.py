import argparse
import json

import pytest
import torch

import fairseq_lite  # noqa: F401  registers the architectures
from fairseq_lite.building import build_architecture
from fairseq_lite.cli import latency as command
from fairseq_lite.errors import UserError
from fairseq_lite.measure import latency
from fairseq_lite.measure.latency import WARM_UP_ROUNDS, Latency, batch_run, measure_latency

ENCODER_DECODERS = ["transformer_tiny", "lite_transformer_tiny", "t2r_transformer_tiny"]
LANGUAGE_MODELS = ["lite_transformer_lm_tiny"]
ROBERTA = (
    "--encoder-layers 2 --encoder-embed-dim 16 --encoder-ffn-embed-dim 24 --encoder-attention-heads 2"
    " --max-positions 40"
)


def build(arch, options=""):
    return build_architecture(arch, options.split(), vocab_size=50).eval()


def roberta(*heads):
    model = build("roberta", ROBERTA)
    for classes, name in enumerate(heads, start=3):
        model.register_classification_head(name, num_classes=classes)
    return model.eval()


@pytest.mark.parametrize("arch", ENCODER_DECODERS + LANGUAGE_MODELS)
@pytest.mark.parametrize("batch_size, beam, tgt_len", [(1, 1, 1), (3, 1, 7), (2, 4, 7)])
def test_exactly_as_many_tokens_are_generated(arch, batch_size, beam, tgt_len):
    model = build(arch)
    hypotheses = batch_run(model, batch_size, 5, tgt_len, beam)()
    assert len(hypotheses) == batch_size
    for of_sentence in hypotheses:
        assert len(of_sentence) == beam
        assert {len(hypothesis["tokens"]) for hypothesis in of_sentence} == {tgt_len}


def test_generation_runs_to_the_longest_that_the_model_takes():
    options = "--max-source-positions 12 --max-target-positions 9"
    (hypothesis,) = batch_run(build("lite_transformer_tiny", options), 1, 12, 9)()
    assert len(hypothesis[0]["tokens"]) == 9
    with pytest.raises(UserError, match="tgt_len 10: this model takes 1 to 9 tokens"):
        batch_run(build("lite_transformer_tiny", options), 1, 12, 10)


@torch.no_grad()
def test_greedy_generation_equals_a_naive_one():
    model = build("transformer_tiny")
    model.decoder.embed_tokens.weight.mul_(3)
    (hypothesis,) = batch_run(model, 1, 6, 4)()
    assert model._is_generation_fast

    source = latency._made_up_tokens(model.encoder.dictionary, 1, 6)
    end = model.decoder.dictionary.eos()
    tokens = [end]
    for _ in range(3):
        scores = model(source, torch.tensor([6]), torch.tensor([tokens]))[0][0, -1]
        scores[[end, model.decoder.dictionary.pad()]] = -float("inf")
        tokens.append(scores.argmax().item())
    assert hypothesis[0]["tokens"].tolist() == [*tokens[1:], end]


@pytest.mark.parametrize("heads, shape", [([], (4, 7, 16)), (["first", "second"], (4, 3))])
def test_an_encoder_runs_once_to_its_first_head(heads, shape):
    model = roberta(*heads)
    output, _ = batch_run(model, 4, src_len=7, tgt_len=999)()
    assert output.shape == shape


@pytest.fixture
def timed(monkeypatch):
    """Replaces the clock: the n-th of the runs takes n ms in the first round, and 1 ms more in each that follows."""

    def milliseconds_in_turns(runs, rounds):
        rounds = list(rounds)
        return [[float(1 + n + i) for i in rounds] for n in range(len(runs))]

    monkeypatch.setattr(latency, "milliseconds_in_turns", milliseconds_in_turns)


def test_warm_up_is_left_out_and_time_is_of_a_sentence(timed):
    assert WARM_UP_ROUNDS == 2
    measured = measure_latency([roberta(), roberta()], [1, 2], rounds=11)
    assert measured == {
        1: [Latency(median=8, p90=12), Latency(median=9, p90=13)],
        2: [Latency(median=5, p90=7), Latency(median=5.5, p90=7.5)],
    }


@pytest.mark.parametrize("arch", ENCODER_DECODERS + LANGUAGE_MODELS)
def test_models_are_timed_side_by_side(arch):
    tracked = []

    def track(rounds):
        tracked.extend(rounds)
        return rounds

    measured = measure_latency([build(arch), build(arch)], [2], src_len=4, tgt_len=3, rounds=3, track=track)
    assert [len(of_models) for of_models in measured.values()] == [2]
    assert len(tracked) == WARM_UP_ROUNDS + 3


MODELS = {
    "a[1].pt": lambda: build("lite_transformer_tiny"),
    "b.pt": lambda: build("transformer_tiny"),
    "lm.pt": lambda: build("lite_transformer_lm_tiny"),
    "roberta.pt": lambda: roberta("head"),
}


@pytest.fixture
def run(monkeypatch):
    load_model = command.load_model
    monkeypatch.setattr(command, "load_model", lambda path: MODELS[path]() if path in MODELS else load_model(path))
    monkeypatch.setattr(torch, "set_num_threads", lambda threads: None)

    def run(line):
        parser = argparse.ArgumentParser(allow_abbrev=False)
        command.add_arguments(parser)
        command.run(parser.parse_args(line.split()))

    return run


def test_json_of_the_command(run, timed, capsys):
    run("a[1].pt b.pt --batch-sizes 1 2 --rounds 1 --beam 2 --tgt-len 4 --src-len 3 --json")
    printed = json.loads(capsys.readouterr().out)
    assert printed["timed"] == "generation of 4 tokens from 3 source tokens, beam 2"
    assert printed["rounds"] == 1
    assert "torch" in printed["environment"]
    assert printed["latencies"] == [
        {"batch_size": 1, "checkpoint": "a[1].pt", "median_ms": 3, "p90_ms": 3, "speed_up": 1},
        {"batch_size": 1, "checkpoint": "b.pt", "median_ms": 4, "p90_ms": 4, "speed_up": 3 / 4},
        {"batch_size": 2, "checkpoint": "a[1].pt", "median_ms": 2.5, "p90_ms": 2.5, "speed_up": 1},
        {"batch_size": 2, "checkpoint": "b.pt", "median_ms": 3, "p90_ms": 3, "speed_up": 2.5 / 3},
    ]


@pytest.mark.parametrize(
    "line, caption",
    [
        ("a[1].pt b.pt", "generation of 30 tokens from 30 source tokens, beam 1"),
        ("lm.pt --tgt-len 3", "generation of 3 tokens, beam 1"),
        ("roberta.pt --threads 2", "one forward pass over 30 tokens"),
    ],
)
def test_table_of_the_command(run, timed, capsys, line, caption):
    run(line)
    printed = " ".join(capsys.readouterr().out.split())
    for expected in ("batch", "median", "p90", "speed-up", line.split()[0], caption, "20 rounds", "threads"):
        assert expected in printed


@pytest.mark.parametrize(
    "line, message",
    [
        ("missing.pt", "missing.pt: no such file"),
        ("b.pt --batch-sizes 1 0", "--batch-sizes 0: must be from 1 to"),
        ("b.pt --rounds 0", "--rounds 0: must be from 1 to"),
        ("b.pt --beam 0", "--beam 0: must be from 1 to"),
        ("b.pt --threads 0", "--threads 0: must be from 1 to"),
        ("b.pt --threads 100000000", "--threads 100000000: must be from 1 to 1024"),
        ("b.pt --src-len 0", "b.pt: --src-len 0: this model takes 1 to"),
        ("roberta.pt --src-len 41", "roberta.pt: --src-len 41: this model takes 1 to 40 tokens"),
        ("b.pt lm.pt", r"lm.pt: is a model of another kind \(language model\) than b.pt \(encoder-decoder\)"),
    ],
)
def test_mistakes_are_told_in_one_line(run, line, message):
    with pytest.raises(UserError, match=message):
        run(line)
