import argparse
import sys
import types
from pathlib import Path

import pytest
import torch

from fairseq_lite.checkpoints import load_model, write_checkpoint
from fairseq_lite.cli import main
from fairseq_lite.converters import convert_lite_transformer, convert_t2r
from fairseq_lite.errors import UserError

GOLDEN = Path(__file__).parents[1] / "golden"
TRANSLATORS = {
    "lite_transformer_iwslt_light": convert_lite_transformer,
    "lite_transformer_wmt_dynamic": convert_lite_transformer,
    "t2r_mt": convert_t2r,
}
LANGUAGE_MODELS = {"lite_transformer_lm_wiki103": convert_lite_transformer, "t2r_lm": convert_t2r}
CLOSE = dict(rtol=0, atol=1e-4)


def golden(name):
    return torch.load(GOLDEN / f"{name}.io.pt")


@pytest.fixture
def converted(tmp_path):
    """A golden checkpoint after conversion, written and read again."""

    def convert(name, fast):
        path = str(tmp_path / f"{name}.pt")
        converter = {**TRANSLATORS, **LANGUAGE_MODELS}[name]
        write_checkpoint(converter(str(GOLDEN / f"{name}.pt")), path)
        model = load_model(path)
        if fast:
            model.make_generation_fast_(need_attn=False)
        return model

    return convert


def step_by_step(decoder, tokens, encoder_out=None, **options):
    state = {}
    return torch.cat(
        [
            decoder(tokens[:, : t + 1], encoder_out=encoder_out, incremental_state=state, **options)[0]
            for t in range(tokens.size(1))
        ],
        dim=1,
    )


as_trained_and_prepared_for_generation = pytest.mark.parametrize("fast", [False, True])


@as_trained_and_prepared_for_generation
@pytest.mark.parametrize("name", TRANSLATORS)
@torch.no_grad()
def test_translation_matches_the_golden_output(name, fast, converted):
    model, io = converted(name, fast), golden(name)
    encoder_out = model.encoder(io["src_tokens"], io["src_lengths"])
    tokens = io["prev_output_tokens"]
    torch.testing.assert_close(encoder_out["encoder_out"][0], io["encoder_out"], **CLOSE)
    torch.testing.assert_close(model.decoder(tokens, encoder_out)[0], io["logits"], **CLOSE)
    torch.testing.assert_close(step_by_step(model.decoder, tokens, encoder_out), io["logits"], **CLOSE)


@as_trained_and_prepared_for_generation
@pytest.mark.parametrize("name", LANGUAGE_MODELS)
@torch.no_grad()
def test_language_model_matches_the_golden_output(name, fast, converted):
    model, io = converted(name, fast), golden(name)
    tokens = io["prev_output_tokens"]
    features, _ = model.decoder(tokens, features_only=True)
    torch.testing.assert_close(features, io["features"], **CLOSE)
    torch.testing.assert_close(step_by_step(model.decoder, tokens, features_only=True), io["features"], **CLOSE)
    log_probabilities = model.get_normalized_probs(model(tokens), log_probs=True)
    torch.testing.assert_close(log_probabilities, io["lprobs"], **CLOSE)


def published(tmp_path, change, name="lite_transformer_iwslt_light"):
    """A golden checkpoint of the authors' format with something changed; returns its path."""
    checkpoint = torch.load(GOLDEN / f"{name}.pt")
    change(checkpoint)
    path = str(tmp_path / "published.pt")
    torch.save(checkpoint, path)
    return path


def test_all_weights_that_do_not_fit_are_named_at_once(tmp_path):
    def change(checkpoint):
        state = checkpoint["model"]
        state["encoder.surplus"] = torch.zeros(1)
        del state["decoder.layers.0.fc1.bias"]
        state["encoder.layers.1.fc2.weight"] = torch.zeros(3, 5)

    with pytest.raises(UserError) as error:
        convert_lite_transformer(published(tmp_path, change))
    message = str(error.value)
    assert "3 weights do not fit" in message
    assert "encoder.surplus is left over" in message
    assert "decoder.layers.0.fc1.bias is missing" in message
    assert "encoder.layers.1.fc2.weight is [3, 5] instead of [32, 32]" in message
    assert "\n" not in message


def test_all_options_without_a_counterpart_are_named_at_once(tmp_path):
    def change(checkpoint):
        checkpoint["args"].encoder_branch_type = ["attn:1:16:4", "attn:1:16:4"]
        checkpoint["args"].conv_linear = False

    with pytest.raises(UserError, match="encoder branches.*conv_linear False"):
        convert_lite_transformer(published(tmp_path, change))


def test_training_meters_of_old_fairseq_are_read_over(tmp_path, monkeypatch):
    meters = types.ModuleType("fairseq.meters")
    meters.AverageMeter = type("AverageMeter", (), {"__module__": "fairseq.meters"})

    def change(checkpoint):
        meter = meters.AverageMeter()
        meter.sum = 1.0
        checkpoint["extra_state"] = {"train_meters": {"loss": meter}}

    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "fairseq.meters", meters)
        path = published(tmp_path, change)
    assert "train_meters" not in convert_lite_transformer(path)["extra_state"]


@pytest.mark.parametrize(
    "content, message",
    [
        (b"", "0 bytes that are not a readable checkpoint"),
        (b"not a checkpoint", "16 bytes that are not a readable checkpoint"),
        ((GOLDEN / "t2r_mt.pt").read_bytes()[:9000], "9000 bytes that are not a readable"),
    ],
)
def test_files_that_are_no_checkpoint(content, message, tmp_path, capsys):
    broken, output = tmp_path / "broken.pt", tmp_path / "out.pt"
    broken.write_bytes(content)
    assert main(["convert", "lite-transformer", str(broken), str(output)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line and str(broken) in line
    assert not output.exists()


def test_options_of_t2r_without_a_counterpart(tmp_path):
    def gate(checkpoint):
        checkpoint["args"].use_input_gate = True
        checkpoint["args"].random_feature = "gaussian"

    def freeze(checkpoint):
        checkpoint["model"]["decoder.layers.1.self_attn.tau"] *= 0

    with pytest.raises(UserError, match="random_feature 'gaussian' instead of 'mlp'; use_input_gate True"):
        convert_t2r(published(tmp_path, gate, "t2r_mt"))
    with pytest.raises(UserError, match="decoder.layers.1.self_attn.tau is 0"):
        convert_t2r(published(tmp_path, freeze, "t2r_mt"))


@pytest.mark.parametrize("format", ["lite-transformer", "t2r"])
def test_a_checkpoint_of_another_architecture(format, tmp_path, capsys):
    other = tmp_path / "other.pt"
    torch.save({"args": argparse.Namespace(arch="transformer"), "model": {}}, other)
    assert main(["convert", format, str(other), str(tmp_path / "out.pt")]) == 2
    assert "architecture 'transformer'" in capsys.readouterr().err


def test_the_input_is_never_written_over(tmp_path, capsys):
    path = published(tmp_path, lambda checkpoint: None)
    before = Path(path).read_bytes()
    assert main(["convert", "lite-transformer", path, path]) == 2
    assert "is an input too" in capsys.readouterr().err
    assert Path(path).read_bytes() == before
