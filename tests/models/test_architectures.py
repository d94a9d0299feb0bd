import pytest
from fairseq.models import ARCH_CONFIG_REGISTRY

from fairseq_lite.building import build_architecture
from fairseq_lite.errors import UserError
from fairseq_lite.measure.mult_adds import count_mult_adds
from fairseq_lite.models.architectures import (
    EDGE_TRANSFORMERS,
    FLAT_TRANSFORMERS,
    LITE_LANGUAGE_MODELS,
    LITE_TRANSFORMERS,
)
from fairseq_lite.modules import LightweightConv


@pytest.mark.parametrize("name", [*LITE_TRANSFORMERS, *EDGE_TRANSFORMERS, *LITE_LANGUAGE_MODELS, *FLAT_TRANSFORMERS])
def test_is_registered(name):
    assert name in ARCH_CONFIG_REGISTRY


@pytest.mark.parametrize("name", LITE_TRANSFORMERS)
def test_ffn_is_flat_and_half_the_channels_attend(name):
    layer = build_architecture(name, ["--encoder-layers=1", "--encoder-kernel-sizes=3"], 100).encoder.layers[0]
    assert layer.fc1.out_features == layer.embed_dim
    assert layer.self_attn.attention_dim == layer.embed_dim // 2


@pytest.mark.parametrize(
    "name, width, millions", [("lite_transformer_edge", 160, 34.26), ("lite_transformer_edge_128", 128, 22.18)]
)
def test_edge_models_have_one_decoder_layer_and_an_ffn_of_twice_the_width(name, width, millions):
    model = build_architecture(name, [], 6000)
    assert (len(model.encoder.layers), len(model.decoder.layers)) == (6, 1)
    for layer in (*model.encoder.layers, *model.decoder.layers):
        assert (layer.embed_dim, layer.fc1.out_features) == (width, 2 * width)
    assert count_mult_adds(model, 30, 30).total / 1e6 == pytest.approx(millions, abs=0.005)


def test_an_option_wins_over_the_architecture():
    model = build_architecture(
        "lite_transformer_wmt_en_de_90m", ["--no-encoder-conv-glu", "--no-share-all-embeddings"], 100
    )
    assert not model.encoder.layers[0].self_attn.conv.glu
    assert model.decoder.layers[0].self_attn.conv.glu
    assert model.encoder.embed_tokens is not model.decoder.embed_tokens


def test_the_decoder_is_as_wide_as_the_encoder_unless_said_otherwise():
    model = build_architecture("lite_transformer_iwslt_de_en", ["--encoder-embed-dim", "64"], 100)
    assert model.decoder.embed_dim == model.decoder.layers[0].fc1.out_features == 64


@pytest.mark.parametrize("ratio, bound", [("1", (3 / 160) ** 0.5), ("2", (2 / 160) ** 0.5)])
def test_ffn_init_ratio_narrows_the_initial_weights(ratio, bound):
    layer = build_architecture("lite_transformer_iwslt_de_en", ["--ffn-init-ratio", ratio], 100).encoder.layers[0]
    for linear in (layer.fc1, layer.fc2):
        assert 0.98 * bound < linear.weight.abs().max() <= bound


def test_ffn_init_ratio_of_1_is_xavier_whatever_the_inner_width():
    options = ["--encoder-ffn-embed-dim=480", "--encoder-layers=1", "--encoder-kernel-sizes=3", "--ffn-init-ratio=1"]
    layer = build_architecture("lite_transformer_iwslt_de_en", options, 100).encoder.layers[0]
    bound = (6 / (160 + 480)) ** 0.5
    assert all(0.98 * bound < linear.weight.abs().max() <= bound for linear in (layer.fc1, layer.fc2))


@pytest.mark.parametrize("ratio", ["inf", "-1"])
def test_ffn_init_ratio_out_of_range(ratio):
    with pytest.raises(UserError, match="--ffn-init-ratio"):
        build_architecture("lite_transformer_tiny", [f"--ffn-init-ratio={ratio}"], 100)


def test_lightweight_kernels_start_as_wide_as_the_authors_matrices():
    weight = LightweightConv(4000, 5, 4000).weight
    bound = (6 / (4000 + 5)) ** 0.5
    assert 0.98 * bound < weight.abs().max() <= bound


def test_dropouts_of_the_published_summarisation():
    model = build_architecture("lite_transformer_cnndm", [], 100)
    layer = model.encoder.layers[0]
    assert (layer.dropout_module.p, layer.self_attn.attention.dropout_module.p) == (0.15, 0.1)
    assert layer.self_attn.conv.weight_dropout_module.p == 0.1


def test_options_of_linear_attention_without_a_feature_map_are_named(caplog):
    build_architecture("lite_transformer_tiny", ["--causal-gate", "--causal-feature-dim=8"], 100)
    assert "--causal-feature-dim, --causal-gate: without effect" in caplog.text
