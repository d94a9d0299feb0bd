"""The Evolved Transformer's sizes by formula, its options and what is refused. Decoding is in test_encoder_decoder."""

import pytest
import torch

from fairseq_lite.building import build_architecture
from fairseq_lite.errors import UserError
from fairseq_lite.measure.parameters import count_parameters
from fairseq_lite.models.evolved_transformer import EvolvedTransformerModel

DIM = 24


def tiny(options=""):
    sizes = f"--encoder-embed-dim {DIM} --encoder-attention-heads 2 --decoder-attention-heads 2"
    return build_architecture("evolved_transformer_tiny", [*sizes.split(), *options.split()], 50).eval()


def linear(inputs, outputs):
    return inputs * outputs + outputs


def separable(inputs, outputs, kernel_size):
    """No bias between the kernels and the linear map."""
    return inputs * kernel_size + linear(inputs, outputs)


def norm(dim):
    return 2 * dim


ATTENTION = 4 * linear(DIM, DIM)
FFN = linear(DIM, 4 * DIM) + linear(4 * DIM, DIM)
SUB_BLOCKS = {
    "encoder": {
        "glu": linear(DIM, 2 * DIM),
        "conv.wide": linear(DIM, 4 * DIM),
        "conv.narrow": 3 * DIM * DIM // 2 + DIM // 2,
        "conv.layer_norm": norm(4 * DIM),
        "conv.joined": separable(4 * DIM, DIM // 2, 9),
        "self_attn": ATTENTION,
    },
    "decoder": {
        "first_attn": 2 * ATTENTION,
        "conv.wide": separable(DIM, 2 * DIM, 11),
        "conv.narrow": separable(DIM, DIM // 2, 7),
        "conv.layer_norm": norm(2 * DIM),
        "conv.joined": separable(2 * DIM, DIM, 7),
        "self_attn": ATTENTION,
        "encoder_attn": ATTENTION,
        "ffn_layernorm": norm(4 * DIM),
    },
}
# One before each block: GLU, convolutions, attention, FFN; attention, convolutions, two more attentions, FFN.
NORMS = {"encoder": 4, "decoder": 5}


@pytest.mark.parametrize("side", SUB_BLOCKS)
def test_parameters_of_each_sub_block_by_formula(side):
    (cell,) = getattr(tiny(), side).layers
    assert {name: count_parameters(cell.get_submodule(name)) for name in SUB_BLOCKS[side]} == SUB_BLOCKS[side]
    assert count_parameters(cell) == sum(SUB_BLOCKS[side].values()) + FFN + NORMS[side] * norm(DIM)


# The abstract rounds the smaller one.
@pytest.mark.parametrize(
    "name, published, within", [("evolved_transformer", 64.1e6, 0.01), ("evolved_transformer_mobile", 7e6, 0.03)]
)
def test_published_parameters(name, published, within):
    with torch.device("meta"):
        model = build_architecture(name, [], vocab_size=2**15)
    assert count_parameters(model) == pytest.approx(published, rel=within)


@pytest.mark.parametrize("heads, first", [(2, 4), (8, 16), (12, 16), (24, 24)])
def test_heads_of_the_first_attention(heads, first):
    model = tiny(f"--decoder-embed-dim 48 --decoder-attention-heads {heads}")
    (cell,) = model.decoder.layers
    assert (cell.first_attn.self_attn.num_heads, cell.self_attn.num_heads) == (first, heads)
    assert cell.first_attn.encoder_attn.num_heads == heads


@pytest.mark.parametrize("side", ["encoder", "decoder"])
def test_layers_to_keep(side):
    model = tiny(f"--{side}-layers 3 --{side}-layers-to-keep 0,2")
    assert len(getattr(model, side).layers) == 2


def test_half_precision_is_close_to_single():
    model = tiny()
    source, target = torch.randint(4, 50, (2, 6)), torch.randint(4, 50, (2, 5))
    expected = model(source, None, target)[0]
    halved = model.half()(source, None, target)[0]
    assert halved.dtype == torch.float16
    torch.testing.assert_close(halved.float(), expected, rtol=0.02, atol=0.02)


@pytest.mark.parametrize(
    "options, message",
    [
        ("--encoder-embed-dim 25 --encoder-attention-heads 5", "--encoder-embed-dim 25: must be even"),
        (
            "--decoder-embed-dim 36 --decoder-attention-heads 4",
            "--decoder-attention-heads 4: gives the first .* 8 heads",
        ),
        ("--activation-fn gelu", "--activation-fn gelu: the cells have ReLU in the encoder"),
        ("--cross-self-attention", "--cross-self-attention: not possible"),
    ],
)
def test_options_that_do_not_fit_the_cells(options, message):
    with pytest.raises(UserError, match=message):
        tiny(f"--decoder-embed-dim 32 {options}")


def test_a_layer_norm_after_each_block_is_refused():
    cfg = tiny().encoder.cfg
    cfg.encoder.normalize_before = False
    with pytest.raises(UserError, match="--encoder-normalize-before False: must be True"):
        EvolvedTransformerModel.check(cfg)
