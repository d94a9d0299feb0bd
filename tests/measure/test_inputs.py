"""Which models the reports take, and how they are called."""

import pytest
import torch
from fairseq.dataclass.utils import convert_namespace_to_omegaconf
from fairseq.models import build_model

from fairseq_lite.building import _parse, build_architecture, check_architecture, task_of_language_pairs, task_of_sizes
from fairseq_lite.checkpoints import model_of
from fairseq_lite.errors import UserError
from fairseq_lite.measure.inputs import allow_length, checked_lengths, measured_part
from fairseq_lite.measure.latency import batch_run
from fairseq_lite.measure.mult_adds import count_mult_adds

BERT = "--encoder-embed-dim 32 --encoder-ffn-embed-dim 48 --encoder-layers 1 --encoder-attention-heads 2".split()
PAIRS = task_of_language_pairs(["de-en", "en-de"], {"de": 20, "en": 30})


def reloaded(arch, options, task):
    cfg = convert_namespace_to_omegaconf(_parse(arch, options))
    model = build_model(cfg.model, task)
    return model_of({"cfg": cfg, "model": model.state_dict(), "extra_state": {}}, "model.pt")


def test_masked_language_model_by_formula():
    model = reloaded("bert_base", BERT, task_of_sizes(20, 20))
    tokens, width, inner = 7, 32, 48
    assert count_mult_adds(model, tokens).total == tokens * width * (4 * width + 2 * inner + 2 * tokens)
    sentence, _ = batch_run(model, 3, tokens, 9)()
    assert sentence.shape == (3, width)


def test_of_a_multilingual_model_the_first_pair_counts():
    sizes = [*BERT, *(option.replace("encoder", "decoder") for option in BERT)]
    model = reloaded("multilingual_transformer", sizes, PAIRS)
    pair = measured_part(model)
    assert pair is model.models["de-en"]
    counted, alone = count_mult_adds(model), count_mult_adds(pair)
    assert counted.total == alone.total and counted.parameters == sum(p.numel() for p in model.parameters())
    assert len(batch_run(model, 2, 5, 4)()) == 2


@pytest.mark.parametrize(
    "name", ["lstm", "lstm_lm", "fconv_iwslt_de_en", "nonautoregressive_transformer", "s2t_transformer"]
)
def test_other_architectures_are_refused_by_name(name):
    with pytest.raises(UserError, match=f"architecture '{name}': is not one that can be read"):
        check_architecture(name)
    with pytest.raises(UserError, match=f"--arch {name}: architecture '{name}'"):
        build_architecture(name, [])


@torch.no_grad()
def test_outputs_longer_than_the_model_was_trained_for():
    options = ["--max-target-positions", "9"]
    model = build_architecture("lite_transformer_tiny", options, 20)
    allow_length(model, 12)
    (hypothesis,) = batch_run(model, 1, 5, 12)()
    assert len(hypothesis[0]["tokens"]) == 12
    learned = build_architecture("transformer_tiny", [*options, "--decoder-learned-pos"], 20)
    allow_length(learned, 12)
    with pytest.raises(UserError, match="tgt_len 12: this model takes 1 to 9 tokens"):
        checked_lengths(learned, 5, 12)
