import pytest
import torch

from fairseq_lite.modules.causal_product import CHUNK, causal_product, chunked, masked, no_state, recurrent_step

B, H, K, D = 2, 3, 6, 5
LENGTHS = [1, 2, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 3 * CHUNK - 5]
TOLERANCE = {torch.float64: 1e-9, torch.float32: 1e-5}


def stepwise(q, k, v, S, z, log_decay=None):
    """recurrent_step from the first position to the last."""
    numerators, denominators = [], []
    for t in range(q.size(2)):
        here = slice(t, t + 1)
        decay = None if log_decay is None else log_decay[:, :, here]
        numerator, denominator, S, z = recurrent_step(q[:, :, here], k[:, :, here], v[:, :, here], S, z, decay)
        numerators.append(numerator)
        denominators.append(denominator)
    return torch.cat(numerators, dim=2), torch.cat(denominators, dim=2), S, z


def inputs(T, dtype, gated, with_state):
    torch.manual_seed(T)
    q, k = torch.rand(B, H, T, K, dtype=dtype) / T**0.5, torch.rand(B, H, T, K, dtype=dtype) / T**0.5
    v = torch.randn(B, H, T, D, dtype=dtype)
    S, z = torch.rand(B, H, K, D, dtype=dtype), torch.rand(B, H, K, dtype=dtype)
    if not with_state:
        S, z = no_state(k, v)
    tensors = [q, k, v, S, z]
    if gated:
        tensors.append(torch.nn.functional.logsigmoid(2 * torch.randn(B, H, T, dtype=dtype)))
    return tensors


def values_and_gradients(form, tensors):
    tensors = [tensor.clone().requires_grad_() for tensor in tensors]
    outputs = form(*tensors)
    torch.manual_seed(0)
    loss = sum((output * torch.randn(output.shape, dtype=torch.float64).to(output)).sum() for output in outputs)
    return [*outputs, *torch.autograd.grad(loss, tensors)]


@pytest.mark.parametrize("with_state", [False, True])
@pytest.mark.parametrize("gated", [False, True])
@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("T", LENGTHS)
@pytest.mark.parametrize("form", [chunked, stepwise])
def test_forms_are_equal_in_value_state_and_gradient(form, T, dtype, gated, with_state):
    tensors = inputs(T, dtype, gated, with_state)
    exact = values_and_gradients(masked, [tensor.double() for tensor in tensors])
    for ours, reference in zip(values_and_gradients(form, tensors), exact):
        torch.testing.assert_close(ours, reference.to(dtype), rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])


@pytest.mark.parametrize("gated", [False, True])
def test_a_text_in_two_parts_is_as_in_one(gated):
    q, k, v, S, z, *decay = inputs(150, torch.float64, gated, with_state=True)
    whole = causal_product(q, k, v, S, z, *decay)
    numerators, denominators = [], []
    for part in (slice(0, 70), slice(70, 150)):
        cut = [tensor[:, :, part] for tensor in (q, k, v)]
        numerator, denominator, S, z = causal_product(*cut, S, z, *(d[:, :, part] for d in decay))
        numerators.append(numerator)
        denominators.append(denominator)
    parts = torch.cat(numerators, dim=2), torch.cat(denominators, dim=2), S, z
    for ours, reference in zip(parts, whole):
        torch.testing.assert_close(ours, reference, rtol=1e-9, atol=1e-9)


def test_a_gate_that_closes_leaves_finite_gradients():
    q, k, v, S, z, _ = inputs(CHUNK + 3, torch.float32, True, with_state=True)
    shut = torch.full((B, H, CHUNK + 3), -80.0)
    for tensor in values_and_gradients(chunked, [q, k, v, S, z, shut]):
        assert tensor.isfinite().all()


def test_memory_of_the_chunked_form_is_linear_in_the_length():
    def largest(T):
        sizes = []
        with torch.autograd.graph.saved_tensors_hooks(lambda x: sizes.append(x.numel()) or x, lambda x: x):
            q, k, v, S, z = (tensor.requires_grad_() for tensor in inputs(T, torch.float32, False, False))
            chunked(q, k, v, S, z)
        return sum(sizes)

    assert largest(32 * CHUNK) < 17 * largest(2 * CHUNK)
