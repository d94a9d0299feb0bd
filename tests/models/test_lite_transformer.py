import pytest
import torch

from fairseq_lite.building import build_architecture
from fairseq_lite.errors import UserError

PAD = 1


def translator(options=()):
    return build_architecture("lite_transformer_tiny", list(options), vocab_size=50).eval()


def sentence(length):
    return torch.randint(4, 50, (1, length))


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
        ("--decoder-kernel-sizes 3,0", "--decoder-kernel-sizes 3,0: a kernel has 1 to 4096 taps"),
        ("--decoder-kernel-sizes 3,x", "--decoder-kernel-sizes 3,x: give whole numbers"),
        ("--encoder-conv-type wide", "--encoder-conv-type: invalid choice: 'wide'"),
        ("--cross-self-attention", "--cross-self-attention: not possible"),
    ],
)
def test_options_that_do_not_fit_together(options, message):
    with pytest.raises(UserError, match=message):
        translator(options.split())
