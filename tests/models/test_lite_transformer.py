import pytest
import torch

from fairseq_lite.building import build_architecture
from fairseq_lite.errors import UserError

PAD = 1
CONV_OPTIONS = {
    "lightweight": [],
    "dynamic with GLU": [
        f"--{side}-conv-{option}" for side in ("encoder", "decoder") for option in ("type=dynamic", "glu")
    ],
    "uneven branches": ["--encoder-attention-dim", "16", "--decoder-attention-dim", "48"],
    "pre-norm": ["--encoder-normalize-before", "--decoder-normalize-before"],
}
every_variant = pytest.mark.parametrize("options", CONV_OPTIONS.values(), ids=CONV_OPTIONS)


def translator(options=()):
    return build_architecture("lite_transformer_tiny", list(options), vocab_size=50).eval()


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
    steps = [
        model.decoder(target[:, : t + 1], encoder_out, incremental_state=state)[0] for t in range(8)
    ]
    torch.testing.assert_close(torch.cat(steps, dim=1), parallel, rtol=1e-5, atol=1e-5)


def test_reordered_beams_go_on_with_their_own_past():
    model = translator()
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


@every_variant
def test_scripted_equals_eager(options):
    model = translator(options)
    source, target = batched(sentence(5), sentence(9)), batched(sentence(4), sentence(8))
    scripted = torch.jit.script(model)
    torch.testing.assert_close(
        scripted(source, torch.tensor([5, 9]), target)[0], model(source, None, target)[0], rtol=1e-5, atol=1e-5
    )


def test_every_parameter_gets_a_gradient():
    model = translator(CONV_OPTIONS["dynamic with GLU"]).train()
    model(sentence(6), None, sentence(5))[0].logsumexp(-1).sum().backward()
    assert not [name for name, p in model.named_parameters() if p.grad is None]


def test_layers_to_keep_keeps_their_kernels():
    model = translator(["--encoder-layers-to-keep", "1"])
    (layer,) = model.encoder.layers
    assert layer.self_attn.conv.kernel_size == 7


def test_activation_checkpointing_changes_nothing():
    plain = translator()
    checkpointed = build_architecture("lite_transformer_tiny", ["--checkpoint-activations"], 50).eval()
    checkpointed.load_state_dict(plain.state_dict())
    source, target = sentence(6), sentence(5)
    torch.testing.assert_close(checkpointed(source, None, target)[0], plain(source, None, target)[0])


@pytest.mark.parametrize(
    "tokens, message",
    [
        (torch.zeros(0, 5, dtype=torch.long), r"batch of shape \[0, 5\]: empty"),
        (torch.zeros(2, 0, dtype=torch.long), r"batch of shape \[2, 0\]: empty"),
        (torch.full((2, 5), PAD), "sentence 0 of the batch: all padding"),
        (torch.full((1, 1025), 4), "--max-source-positions 1024: a sentence has 1025 tokens"),
    ],
)
def test_batches_that_no_output_makes_sense_for(tokens, message):
    model = translator()
    with pytest.raises(UserError, match=message):
        model.encoder(tokens)
    with pytest.raises(UserError, match=message.replace("source", "target")):
        model.decoder(tokens, model.encoder(sentence(3)))


@pytest.mark.parametrize(
    "options, message",
    [
        ("--encoder-attention-dim 0", "--encoder-attention-dim 0: must lie between 1 and 63"),
        ("--decoder-attention-dim 64", "--decoder-attention-dim 64: must lie between 1 and 63"),
        ("--encoder-attention-dim 31", "--encoder-self-attention-heads 2: does not divide .* 31 channels"),
        ("--decoder-conv-heads 5", "--decoder-conv-heads 5: does not divide .* 32 channels"),
        ("--encoder-kernel-sizes 3", "--encoder-kernel-sizes 3: 1 sizes for 2 layers"),
        ("--decoder-kernel-sizes 3,0", "--decoder-kernel-sizes 3,0: a kernel has at least 1 tap"),
        ("--decoder-kernel-sizes 3,x", "--decoder-kernel-sizes 3,x: give whole numbers"),
        ("--encoder-conv-type wide", "--encoder-conv-type: invalid choice: 'wide'"),
        ("--cross-self-attention", "--cross-self-attention: not possible"),
    ],
)
def test_options_that_do_not_fit_together(options, message):
    with pytest.raises(UserError, match=message):
        translator(options.split())
