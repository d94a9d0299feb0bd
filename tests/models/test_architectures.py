import pytest
from fairseq.models import ARCH_CONFIG_REGISTRY

from fairseq_lite.building import build_architecture
from fairseq_lite.models.architectures import FLAT_TRANSFORMERS, LITE_LANGUAGE_MODELS, LITE_TRANSFORMERS


@pytest.mark.parametrize("name", [*LITE_TRANSFORMERS, *LITE_LANGUAGE_MODELS, *FLAT_TRANSFORMERS])
def test_is_registered(name):
    assert name in ARCH_CONFIG_REGISTRY


@pytest.mark.parametrize("name", LITE_TRANSFORMERS)
def test_ffn_is_flat_and_half_the_channels_attend(name):
    layer = build_architecture(name, ["--encoder-layers=1", "--encoder-kernel-sizes=3"], 100).encoder.layers[0]
    assert layer.fc1.out_features == layer.embed_dim
    assert layer.self_attn.attention_dim == layer.embed_dim // 2


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
