import pytest
import torch
from fairseq.modules import MultiheadAttention
from models import PAD, batch, build

from fairseq_lite.pruning.importance import IMPORTANCES, Taylor
from fairseq_lite.pruning.neurons import GRANULARITIES, prunable_layers


def loss_of(model, inputs):
    logits = model(*inputs)[0]
    target = inputs[-1]
    nll = torch.nn.functional.cross_entropy(logits.transpose(1, 2), target, ignore_index=PAD, reduction="sum")
    return nll


def collected(model, inputs, granularity="neuron", scale=1.0):
    layers = GRANULARITIES[granularity](prunable_layers(model))
    taylor = Taylor(layers)
    hooks = [
        parameter.register_hook(lambda gradient, n=n, p=parameter: taylor.add(n, p, gradient))
        for n, layer in enumerate(layers)
        for parameter in layer.parameters
    ]
    for batch_inputs in inputs:
        loss = loss_of(model, batch_inputs) * scale
        taylor.loss_scale = torch.tensor(scale)
        loss.backward()
    for hook in hooks:
        hook.remove()
    return {layer.name: total for layer, total in zip(layers, taylor.sums)}


def activation_times_gradient(model, inputs):
    """By definition: the sum over positions that are not padding of y dL/dy, for each linear layer."""
    for module in model.modules():
        if isinstance(module, MultiheadAttention):
            # computes with the projections' weights otherwise, not with the projections
            module.skip_embed_dim_check = True
    layers = prunable_layers(model)
    outputs = {}
    hooks = [
        layer.linear.register_forward_hook(
            lambda module, args, y, name=layer.name: outputs.setdefault(name, []).append(y) or y.retain_grad()
        )
        for layer in layers
    ]
    loss_of(model, inputs).backward()
    for hook in hooks:
        hook.remove()
    real = {name: tokens.ne(PAD).t() for name, tokens in zip(("encoder", "decoder"), (inputs[0], inputs[-1]))}
    sums = {}
    for layer in layers:
        cross_keys = "encoder_attn.k" in layer.name or "encoder_attn.v" in layer.name
        mask = real["encoder" if cross_keys else layer.name.split(".")[0]].unsqueeze(-1)
        y = outputs[layer.name][0]
        sums[layer.name] = (y * y.grad * mask).sum(dim=(0, 1)).detach()
    return sums


@pytest.mark.parametrize("options", ["transformer_tiny", "lite_transformer_tiny", "t2r_transformer_tiny"])
def test_taylor_is_activation_times_gradient_without_padding(options):
    model = build(options)
    inputs = batch(model)
    expected = activation_times_gradient(model, inputs)
    found = collected(model, [inputs])
    for name, total in found.items():
        if name.endswith("q_proj"):
            # the pair: q and k meet in products alone, so that either tells the same under softmax
            total = total - expected[name.replace("q_proj", "k_proj")]
        torch.testing.assert_close(total, expected[name], rtol=1e-4, atol=1e-6, msg=name)


def test_of_a_gated_layer_both_rows_count():
    model = build("lite_transformer_tiny --encoder-conv-glu")
    inputs = batch(model)
    expected = activation_times_gradient(model, inputs)
    name = "encoder.layers.0.self_attn.conv.linear1"
    both = expected[name].view(2, -1).sum(dim=0)
    torch.testing.assert_close(collected(model, [inputs])[name], both, rtol=1e-4, atol=1e-6)


def test_mini_batches_add_up_and_the_loss_scale_does_not_matter():
    model = build("transformer_tiny")
    inputs = [batch(model), batch(model, length=5)]
    alone = [collected(model, [one]) for one in inputs]
    together = collected(model, inputs, scale=128.0)
    for name, total in together.items():
        torch.testing.assert_close(total, alone[0][name] + alone[1][name], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("gradient", [float("inf"), float("nan")])
def test_gradients_that_overflowed_and_ignored_batches_do_not_count(gradient):
    layers = GRANULARITIES["neuron"](prunable_layers(build("transformer_tiny")))
    taylor = Taylor(layers)
    weight = layers[0].parameters[0]
    taylor.add(0, weight, torch.full_like(weight, gradient))
    taylor.loss_scale = torch.zeros(())
    taylor.add(0, weight, torch.zeros_like(weight))
    assert taylor.scores() is None


def test_a_weight_counts_by_itself():
    model = build("transformer_tiny")
    inputs = batch(model)
    rows = collected(model, [inputs])["encoder.layers.0.fc1"]
    entries = collected(model, [inputs], "weight")["encoder.layers.0.fc1"]
    linear = model.encoder.layers[0].fc1
    model.zero_grad()
    loss_of(model, inputs).backward()
    torch.testing.assert_close(entries.view_as(linear.weight), (linear.weight * linear.weight.grad).detach())
    from_bias = (linear.bias * linear.bias.grad).detach()
    torch.testing.assert_close(entries.view_as(linear.weight).sum(dim=1) + from_bias, rows, rtol=1e-4, atol=1e-6)


def test_magnitude_is_the_norm_of_a_neuron_and_the_size_of_a_weight():
    model = build("transformer_tiny")
    layers = prunable_layers(model)
    for granularity in GRANULARITIES:
        units = GRANULARITIES[granularity](layers)
        scores = dict(zip((u.name for u in units), IMPORTANCES["magnitude"](units).scores()))
        fc1 = model.encoder.layers[0].fc1
        row = torch.cat([fc1.weight, fc1.bias.unsqueeze(1)], dim=1).norm(dim=1)
        expected = row if granularity == "neuron" else fc1.weight.abs().flatten()
        torch.testing.assert_close(scores["encoder.layers.0.fc1"], expected.detach())


def test_random_scores_are_the_same_everywhere():
    units = GRANULARITIES["neuron"](prunable_layers(build("transformer_tiny")))
    first, second = (IMPORTANCES["random"](units).scores() for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first, second))
