import pytest
import torch

from fairseq_lite.modules.causal_product import CHUNK, causal_product, chunked, quadratic, recurrent_step

B, H, K, D = 2, 3, 6, 5
LENGTHS = [1, 2, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 3 * CHUNK - 5]
TOLERANCE = {torch.float64: 1e-9, torch.float32: 1e-5}


def stepwise(q, k, v, state, log_decay=None):
    """recurrent_step from the first position to the last."""
    numerators, denominators = [], []
    for t in range(q.size(2)):
        here = slice(t, t + 1)
        decay = None if log_decay is None else log_decay[:, :, here]
        numerator, denominator, state = recurrent_step(q[:, :, here], k[:, :, here], v[:, :, here], state, decay)
        numerators.append(numerator)
        denominators.append(denominator)
    return torch.cat(numerators, dim=2), torch.cat(denominators, dim=2), state


def inputs(T, dtype, gated, with_state):
    """q, k, v, log_decay or None, S and z or None."""
    torch.manual_seed(T)
    q, k = torch.rand(B, H, T, K, dtype=dtype) / T**0.5, torch.rand(B, H, T, K, dtype=dtype) / T**0.5
    v = torch.randn(B, H, T, D, dtype=dtype)
    log_decay = torch.nn.functional.logsigmoid(2 * torch.randn(B, H, T, dtype=dtype)) if gated else None
    S, z = (torch.rand(B, H, K, D, dtype=dtype), torch.rand(B, H, K, dtype=dtype)) if with_state else (None, None)
    return q, k, v, log_decay, S, z


def product(form, q, k, v, log_decay, S, z):
    """Numerator, denominator, S and z in one list."""
    numerator, denominator, state = form(q, k, v, None if S is None else (S, z), log_decay)
    return [numerator, denominator, *state]


def values_and_gradients(form, tensors):
    tensors = [None if tensor is None else tensor.clone().requires_grad_() for tensor in tensors]
    outputs = product(form, *tensors)
    torch.manual_seed(0)
    loss = sum((output * torch.randn(output.shape, dtype=torch.float64).to(output)).sum() for output in outputs)
    given = [tensor for tensor in tensors if tensor is not None]
    return [*outputs, *torch.autograd.grad(loss, given, allow_unused=True, materialize_grads=True)]


@pytest.mark.parametrize("with_state", [False, True])
@pytest.mark.parametrize("gated", [False, True])
@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("T", LENGTHS)
@pytest.mark.parametrize("form", [chunked, stepwise])
def test_forms_are_equal_in_value_state_and_gradient(form, T, dtype, gated, with_state):
    tensors = inputs(T, dtype, gated, with_state)
    exact = values_and_gradients(quadratic, [None if tensor is None else tensor.double() for tensor in tensors])
    for ours, reference in zip(values_and_gradients(form, tensors), exact):
        torch.testing.assert_close(ours, reference.to(dtype), rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])


@pytest.mark.parametrize("gated", [False, True])
def test_a_text_in_two_parts_is_as_in_one(gated):
    q, k, v, log_decay, _, _ = inputs(150, torch.float64, gated, with_state=False)
    *whole, _ = causal_product(q, k, v, None, log_decay)
    state, parts = None, []
    for part in (slice(0, 70), slice(70, 150)):
        decay = None if log_decay is None else log_decay[:, :, part]
        *outputs, state = causal_product(q[:, :, part], k[:, :, part], v[:, :, part], state, decay)
        parts.append(outputs)
    for ours, reference in zip(zip(*parts), whole):
        torch.testing.assert_close(torch.cat(ours, dim=2), reference, rtol=1e-9, atol=1e-9)


def test_a_gate_that_closes_leaves_finite_gradients():
    q, k, v, log_decay, S, z = inputs(CHUNK + 3, torch.float32, True, with_state=True)
    for tensor in values_and_gradients(chunked, [q, k, v, torch.full_like(log_decay, -80.0), S, z]):
        assert tensor.isfinite().all()


def test_memory_of_the_chunked_form_is_linear_in_the_length():
    def saved(T):
        sizes = []
        with torch.autograd.graph.saved_tensors_hooks(lambda x: sizes.append(x.numel()) or x, lambda x: x):
            q, k, v = (tensor.requires_grad_() for tensor in inputs(T, torch.float32, False, False)[:3])
            chunked(q, k, v)
        return sum(sizes)

    assert saved(32 * CHUNK) < 17 * saved(2 * CHUNK)
