"""Masked equals shrunk, for every kind of model and any part of its neurons."""

import pytest
import torch
from models import batch, build, every_model, mask, output, shrunk

from fairseq_lite.pruning import cuts as cuts_module
from fairseq_lite.pruning.cuts import find_cuts


@pytest.fixture
def inflation_pays(monkeypatch):
    """Even for toy models."""
    monkeypatch.setattr(cuts_module, "INFLATION_PAYS_FOR", 0)


def assert_equals_shrunk(options, part):
    masked = mask(build(options), part)
    small = shrunk(options, masked)
    inputs = batch(masked)
    torch.testing.assert_close(output(small, inputs), output(masked, inputs), rtol=1e-5, atol=1e-5)
    assert sum(p.numel() for p in small.parameters()) < sum(p.numel() for p in masked.parameters())


@every_model
@pytest.mark.parametrize("part", [0.4, 1.0])
def test_masked_equals_shrunk(options, part, monkeypatch):
    """With all zeros left out."""
    monkeypatch.setattr(cuts_module, "INFLATION_PAYS_FOR", 0)
    monkeypatch.setattr(cuts_module, "INFLATION_PAYS_FROM", 0)
    assert_equals_shrunk(options, part)


@every_model
@pytest.mark.parametrize("part", [0.6, 1.0])
def test_masked_equals_shrunk_with_zeros_where_they_cost_less(options, part):
    assert_equals_shrunk(options, part)


@pytest.mark.parametrize("options", ["transformer_tiny", "lite_transformer_tiny", "t2r_transformer_tiny"])
def test_shrunk_step_by_step_equals_teacher_forcing(options):
    model = shrunk(options, mask(build(options), 0.6))
    source, _, target = batch(model)
    target = target.abs().clamp(min=4)
    expected, _ = model(source, None, target)
    encoder_out, state = model.encoder(source, None), {}
    steps = [
        model.decoder(target[:, : t + 1], encoder_out=encoder_out, incremental_state=state)[0]
        for t in range(target.size(1))
    ]
    torch.testing.assert_close(torch.cat(steps, dim=1), expected, rtol=1e-5, atol=1e-5)


def test_a_shrunk_model_trains():
    model = shrunk("transformer_tiny", mask(build("transformer_tiny"), 0.6))
    model(*batch(model))[0].sum().backward()
    assert all(parameter.grad is not None for name, parameter in model.named_parameters() if "layers" in name)


def test_nothing_is_cut_where_a_head_is_whole():
    model = build("transformer_tiny")
    attention = model.encoder.layers[0].self_attn
    with torch.no_grad():
        attention.v_proj.weight[: attention.head_dim] = attention.v_proj.bias[: attention.head_dim] = 0.0
    assert not find_cuts(model)


def test_zeros_stay_in_a_narrow_layer():
    model = mask(build("transformer_tiny"), 0.9)
    assert find_cuts(model)["encoder.layers.0.fc2"].widths().out_kept == 64


def test_few_zeros_stay_where_bringing_them_back_would_cost_more(inflation_pays):
    model = build("transformer_tiny")
    output = "encoder.layers.0.fc2"
    linear = model.get_submodule(output)
    rows = torch.arange(linear.out_features)
    with torch.no_grad():
        linear.weight[rows < 3], linear.bias[rows < 3] = 0.0, 0.0
    assert output not in find_cuts(model)
    with torch.no_grad():
        linear.weight[rows < 60], linear.bias[rows < 60] = 0.0, 0.0
    assert find_cuts(model)[output].widths() == (64, 64, 64, 4)


def test_an_activation_that_is_not_zero_at_zero_keeps_its_neurons():
    model = mask(build("transformer_tiny"), 0.6)
    model.encoder.layers[0].activation_fn = torch.sigmoid
    cuts = find_cuts(model)
    assert "encoder.layers.0.fc1" not in cuts and "encoder.layers.1.fc1" in cuts


def test_without_a_bias():
    model = mask(build("transformer_tiny"), 0.5)
    for name in ("fc1", "fc2"):
        getattr(model.encoder.layers[0], name).bias = None
    cut = find_cuts(model)["encoder.layers.0.fc1"]
    assert "bias" not in cut.state(model.encoder.layers[0].fc1.weight, None)
