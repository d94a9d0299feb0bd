"""`complete` fills in the options of a model, `check` only judges them."""

import copy

import pytest
import torch
from fairseq.models.transformer import TransformerConfig

from fairseq_lite.building import build_architecture
from fairseq_lite.errors import UserError
from fairseq_lite.models.evolved_transformer import EvolvedTransformerModel
from fairseq_lite.models.lite_transformer import LiteTransformerModel
from fairseq_lite.models.lite_transformer_lm import LiteTransformerLanguageModel
from fairseq_lite.models.t2r_transformer import T2RTransformerModel
from fairseq_lite.models.t2r_transformer_lm import T2RTransformerLanguageModel

MODELS = {
    "lite_transformer_tiny": LiteTransformerModel,
    "t2r_transformer_tiny": T2RTransformerModel,
    "lite_transformer_lm_tiny": LiteTransformerLanguageModel,
    "t2r_transformer_lm_tiny": T2RTransformerLanguageModel,
    "evolved_transformer_tiny": EvolvedTransformerModel,
}


@pytest.mark.parametrize("arch", MODELS)
def test_check_changes_no_option_and_is_not_needed_to_build(monkeypatch, arch):
    model, check = MODELS[arch], MODELS[arch].check
    seen = []
    monkeypatch.setattr(model, "check", seen.append)
    build_architecture(arch, [])
    (cfg,) = seen
    assert isinstance(cfg, TransformerConfig)
    before = copy.deepcopy(vars(cfg))
    check(cfg)
    assert vars(cfg) == before


def test_the_encoder_of_a_lite_transformer_is_never_linear():
    with pytest.raises(UserError, match="--linear-attention encoder: take some of causal, cross"):
        build_architecture("lite_transformer_tiny", ["--decoder-feature-map", "t2r", "--linear-attention", "encoder"])


@pytest.mark.parametrize("arch", ["lite_transformer_lm_tiny", "t2r_transformer_lm_tiny"])
def test_a_beginning_may_stand_before_the_longest_text(arch):
    tokens = torch.randint(4, 20, (1, 9))
    options = ["--max-target-positions", "8"]
    with pytest.raises(UserError, match="--max-target-positions 8: a sentence has 9 tokens"):
        build_architecture(arch, options)(tokens)
    assert build_architecture(arch, [*options, "--add-bos-token"])(tokens)[0].shape[1] == 9
