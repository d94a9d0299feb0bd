"""The step graphs of every family tell what fairseq's decoder does."""

import numpy as np
import pytest
import torch
from exported import EOS, LANGUAGE_MODELS, PAD, TRANSLATORS, VOCABULARY, Stepper, build

BEAM = 2


def sources():
    """Three sentences of several lengths: [3, 9]."""
    tokens = torch.randint(4, VOCABULARY, (3, 9))
    tokens[0, 5:] = PAD
    tokens[1, 7:] = PAD
    return tokens


def targets(rows):
    tokens = torch.randint(4, VOCABULARY, (rows, 6))
    tokens[:, 0] = EOS
    return tokens


def fairseq_log_probs(model, source, target, beam=1):
    """By fairseq's incremental decoder, each sentence `beam` times."""
    kwargs = {}
    with torch.no_grad():
        if source is not None:
            order = torch.arange(len(source)).repeat_interleave(beam)
            kwargs["encoder_out"] = model.encoder.reorder_encoder_out(model.encoder(source), order)
        state = {}
        steps = [
            model.get_normalized_probs(
                model.decoder(target[:, : t + 1], incremental_state=state, **kwargs), True, None
            )[:, -1]
            for t in range(target.shape[1])
        ]
    return torch.stack(steps, dim=1).numpy()


def check_translator(model):
    """Log-probabilities by the step graphs and by fairseq, with two beams a sentence."""
    stepper = Stepper(model)
    source, target = sources(), targets(3 * BEAM)
    wanted = fairseq_log_probs(model, source, target, BEAM)
    np.testing.assert_allclose(stepper.log_probs(source, target), wanted, rtol=0, atol=1e-5)


def check_language_model(model):
    """Log-probabilities by the step graph and by fairseq."""
    stepper = Stepper(model)
    target = targets(3)
    wanted = fairseq_log_probs(model, None, target)
    np.testing.assert_allclose(stepper.log_probs(None, target), wanted, rtol=0, atol=1e-5)


# the whole graphs are tested for all
@pytest.mark.parametrize(
    "name", ["wider decoder", "dynamic with GLU", "gated", "one softmax layer", "window, some softmax"]
)
def test_a_translator_steps_as_in_fairseq(name):
    check_translator(build(TRANSLATORS[name]))


@pytest.mark.parametrize("name", ["lite_transformer_lm", "adaptive words tied", "window"])
def test_a_language_model_steps_as_in_fairseq(name):
    check_language_model(build(LANGUAGE_MODELS[name]))
