import pytest
import torch

from fairseq_lite.building import build_architecture
from fairseq_lite.compression.scheme import Scheme
from fairseq_lite.compression.states import first_of_equals, seal_state
from fairseq_lite.measure.sizes import (
    ATTENTION,
    CONVOLUTION,
    EMBEDDINGS,
    FFN,
    OPTIMIZER,
    OTHER,
    OUTPUT,
    REST,
    bytes_by_part,
    part_of,
)


@pytest.mark.parametrize(
    "name, part",
    [
        ("encoder.embed_tokens.weight", EMBEDDINGS),
        ("decoder.embed_tokens.embeddings.1.0.weight", EMBEDDINGS),
        ("encoder.embed_positions.weight", EMBEDDINGS),
        ("decoder.layernorm_embedding.weight", OTHER),
        ("encoder.layers.0.self_attn_layer_norm.bias", OTHER),
        ("encoder.layers.0.self_attn.attention.k_proj.weight", ATTENTION),
        ("decoder.layers.1.encoder_attn.feature_map.weight", ATTENTION),
        ("encoder.layers.0.self_attn.conv.linear1.weight", CONVOLUTION),
        ("encoder.layers.0.conv.weight_linear.weight", CONVOLUTION),
        ("encoder.layers.0.linear2.weight", CONVOLUTION),
        ("decoder.layers.3.fc2.bias", FFN),
        ("decoder.output_projection.weight", OUTPUT),
        ("decoder.adaptive_softmax.head.word_proj.weight", OUTPUT),
        ("decoder.version", OTHER),
    ],
)
def test_part_of(name, part):
    assert part_of(name) == part


@pytest.fixture
def saved(tmp_path):
    """Writes the checkpoint of a model with shared embeddings; returns its path."""

    def saved(scheme=None, **more):
        state = build_architecture("lite_transformer_tiny", ["--share-all-embeddings"], 100).state_dict()
        path = tmp_path / "model.pt"
        torch.save({"model": seal_state(state, scheme, first_of_equals(state)) if scheme else state, **more}, path)
        return str(path)

    return saved


WIDTH, VOCABULARY = 64, 100


def test_plain_checkpoint(saved):
    path = saved(last_optimizer_state={"state": [{"exp_avg": torch.zeros(50)}]}, cfg=None)
    parts = bytes_by_part(path)
    assert parts[EMBEDDINGS] == 4 * WIDTH * VOCABULARY
    assert parts[OUTPUT] == 0
    # two layers a side, two matrices of the model's width in each
    assert parts[FFN] == 4 * 4 * 2 * (WIDTH * WIDTH + WIDTH)
    assert parts[OPTIMIZER] == 200
    assert parts[REST] > 0


def test_compressed_checkpoint(saved):
    path = saved(Scheme(4))
    parts = bytes_by_part(path)
    # the row of the padding symbol is zero, which a bit for each row tells
    assert parts[EMBEDDINGS] == 13 + WIDTH * (VOCABULARY - 1) // 2 + 2 * 16 + 8
    assert parts[FFN] == 8 * (WIDTH * WIDTH // 2 + 2 * 16 + 8 + 2 * WIDTH)
    assert parts[OUTPUT] == parts[OPTIMIZER] == 0


@pytest.mark.parametrize("scheme", [None, Scheme(4)])
def test_parts_add_up_to_the_file(saved, tmp_path, scheme):
    assert sum(bytes_by_part(saved(scheme)).values()) == (tmp_path / "model.pt").stat().st_size
