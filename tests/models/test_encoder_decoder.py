"""What holds of every encoder-decoder model, whatever mixes its tokens."""

import pytest
import torch

from fairseq_lite.building import build_architecture

PAD = 1
BOTH_DYNAMIC = " ".join(f"--{side}-conv-type dynamic --{side}-conv-glu" for side in ("encoder", "decoder"))
SCRIPTABLE = {
    "lightweight": "lite_transformer_tiny",
    "dynamic with GLU": f"lite_transformer_tiny {BOTH_DYNAMIC}",
    "uneven branches": "lite_transformer_tiny --encoder-attention-dim 16 --decoder-attention-dim 48",
    "pre-norm": "lite_transformer_tiny --encoder-normalize-before --decoder-normalize-before",
    "recurrent branch": "lite_transformer_tiny --decoder-feature-map t2r",
    "recurrent branch and cross": f"lite_transformer_tiny {BOTH_DYNAMIC} --decoder-feature-map elu"
    " --linear-attention causal,cross",
    "t2r": "t2r_transformer_tiny",
    "elu": "t2r_transformer_tiny --feature-map elu",
    "rfa": "t2r_transformer_tiny --feature-map rfa",
    "exp": "t2r_transformer_tiny --feature-map exp",
    "window": "t2r_transformer_tiny --feature-map exp --causal-window 3",
    "recurrent branch with a window": "lite_transformer_tiny --decoder-feature-map exp --causal-window 3",
    "hedgehog": "t2r_transformer_tiny --feature-map hedgehog",
    "gated": "t2r_transformer_tiny --causal-gate",
    "everywhere": "t2r_transformer_tiny --linear-attention causal,cross,encoder",
    "one softmax layer": "t2r_transformer_tiny --softmax-layers 0 --decoder-normalize-before",
}
# TorchScript does not compile a forward that ends in fairseq's own.
VARIANTS = {**SCRIPTABLE, "evolved": "evolved_transformer_tiny"}
every_variant = pytest.mark.parametrize("options", VARIANTS.values(), ids=VARIANTS)


@pytest.fixture(autouse=True)
def double_precision():
    """Random features can cancel, which single precision shows."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def translator(options="lite_transformer_tiny"):
    name, *options = options.split()
    return build_architecture(name, options, vocab_size=50).eval()


def sentence(length):
    return torch.randint(4, 50, (1, length))


def batched(*sentences):
    """Pad sentences [1, T] on the right to one batch."""
    width = max(s.size(1) for s in sentences)
    return torch.cat([torch.nn.functional.pad(s, (0, width - s.size(1)), value=PAD) for s in sentences])


@every_variant
def test_a_sentence_alone_equals_the_sentence_in_a_batch(options):
    model = translator(options)
    source, target = sentence(5), sentence(4)
    alone, _ = model(source, None, target)
    together, _ = model(batched(source, sentence(9)), None, batched(target, sentence(8)))
    torch.testing.assert_close(together[:1, :4], alone, rtol=1e-5, atol=1e-5)


@every_variant
def test_incremental_decoding_equals_teacher_forcing(options):
    model = translator(options)
    source, target = batched(sentence(5), sentence(9)), torch.cat([sentence(8), sentence(8)])
    encoder_out = model.encoder(source)
    parallel, _ = model.decoder(target, encoder_out)
    state = {}
    steps = [model.decoder(target[:, : t + 1], encoder_out, incremental_state=state)[0] for t in range(8)]
    torch.testing.assert_close(torch.cat(steps, dim=1), parallel, rtol=1e-5, atol=1e-5)


@every_variant
def test_reordered_beams_go_on_with_their_own_past(options):
    model = translator(options)
    encoder_out = model.encoder(sentence(5).repeat(2, 1))  # two beams of a sentence
    target = torch.cat([sentence(8), sentence(8)])
    order = torch.tensor([1, 1])
    state = {}
    for t in range(6):
        model.decoder(target[:, : t + 1], encoder_out, incremental_state=state)
    model.decoder.reorder_incremental_state_scripting(state, order)
    target = torch.cat([target[order, :6], target[:, 6:]], dim=1)
    step, _ = model.decoder(target[:, :7], encoder_out, incremental_state=state)
    parallel, _ = model.decoder(target, encoder_out)
    torch.testing.assert_close(step[:, -1], parallel[:, 6], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("options", SCRIPTABLE.values(), ids=SCRIPTABLE)
def test_scripted_equals_eager(options):
    model = translator(options)
    source, target = batched(sentence(5), sentence(9)), batched(sentence(4), sentence(8))
    scripted = torch.jit.script(model)
    torch.testing.assert_close(
        scripted(source, torch.tensor([5, 9]), target)[0], model(source, None, target)[0], rtol=1e-5, atol=1e-5
    )


@every_variant
def test_preparing_for_generation_changes_nothing(options):
    model = translator(options)
    source, target = batched(sentence(5), sentence(9)), batched(sentence(4), sentence(8))
    before = model(source, None, target)[0]
    model.make_generation_fast_(need_attn=False)
    torch.testing.assert_close(model(source, None, target)[0], before, rtol=1e-5, atol=1e-5)


@every_variant
def test_every_parameter_gets_a_gradient(options):
    model = translator(options).train()
    model(sentence(6), None, sentence(5))[0].logsumexp(-1).sum().backward()
    assert not [name for name, p in model.named_parameters() if p.grad is None]
