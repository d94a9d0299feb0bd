"""Which attention keeps softmax: the grammar of --softmax-sublayers, what is built, and that it equals fairseq's."""

import copy

import pytest
import torch

from fairseq_lite.building import build_architecture, task_of_sizes
from fairseq_lite.errors import UserError
from fairseq_lite.models.sublayers import item_of, renumbered, sublayer_of
from fairseq_lite.modules.attention_transfer import linear_attentions

T2R, T2R_LM = "t2r_transformer_tiny", "t2r_transformer_lm_tiny"
LITE = "lite_transformer_tiny --decoder-feature-map t2r"
LITE_LM = "lite_transformer_lm_tiny --decoder-feature-map t2r"
ALL = "--linear-attention causal,cross,encoder"


def built(text):
    name, *options = text.split()
    return build_architecture(name, options, vocab_size=50).eval()


def linear(model):
    return " ".join(sorted(str(sublayer_of(name)) for name in linear_attentions(model)))


@pytest.mark.parametrize(
    "item, meaning",
    [
        ("causal", (("causal",), None)),
        ("encoder.12", (("encoder",), 12)),
        ("3", (("causal", "cross"), 3)),
        ("cross.", None),
        (".1", None),
        ("local.0", None),
        ("cross.-1", None),
        ("cross.1.0", None),
        ("1.5", None),
        ("-1", None),
        ("\u00b2", None),
        ("", None),
    ],
)
def test_an_item(item, meaning):
    assert item_of(item) == meaning


@pytest.mark.parametrize(
    "arch, expected",
    [
        (f"{T2R} --softmax-sublayers cross", "causal.0 causal.1"),
        (f"{T2R} --softmax-sublayers cross.1", "causal.0 causal.1 cross.0"),
        (f"{T2R} --softmax-sublayers 0", "causal.1 cross.1"),
        (f"{T2R} --softmax-sublayers causal.0,cross.1", "causal.1 cross.0"),
        (f"{T2R} --softmax-layers 1 --softmax-sublayers causal.0", "cross.0"),
        (f"{T2R} --linear-attention causal --softmax-sublayers cross", "causal.0 causal.1"),
        (f"{T2R} {ALL} --softmax-sublayers encoder.0,causal", "cross.0 cross.1 encoder.1"),
        (f"{T2R} {ALL} --softmax-sublayers 0,encoder", "causal.1 cross.1"),
        (f"{T2R_LM} --softmax-sublayers causal.1", "causal.0"),
        (f"{T2R_LM} --softmax-sublayers 0", "causal.1"),
        (f"{LITE} --linear-attention causal,cross --softmax-sublayers cross.0,1", "causal.0"),
        (f"{LITE_LM} --softmax-sublayers causal.0", "causal.1"),
        (f"{T2R} --decoder-layers 4 --softmax-sublayers causal.3,1 --decoder-layers-to-keep 1,3", "cross.1"),
        (f"{T2R} {ALL} --softmax-sublayers encoder.1,cross.1 --encoder-layers-to-keep 1", "causal.0 causal.1 cross.0"),
    ],
)  # fmt: skip
def test_what_is_linear(arch, expected):
    assert linear(built(arch)) == expected


@pytest.mark.parametrize(
    "arch, message",
    [
        (f"{T2R} --softmax-sublayers cross.2", "cross.2: the decoder has no layer 2; its 2 layers count from 0"),
        (f"{T2R} --softmax-sublayers 7", "7: the decoder has no layer 7"),
        (f"{T2R} --encoder-layers 3 --softmax-sublayers encoder.3", "the encoder has no layer 3; its 3 layers"),
        (f"{T2R} --softmax-sublayers cross.9 --decoder-layers-to-keep 1", "the decoder has no layer 9"),
        (f"{T2R} --softmax-sublayers local", "'local' is no attention .* take causal or cross or encoder, .* causal.0"),
        (f"{T2R} --softmax-sublayers cross,,0", "cross,,0: an item is empty"),
        (f"{T2R} --softmax-sublayers=", "an item is empty"),
        (f"{T2R_LM} --softmax-sublayers encoder.0", "'encoder.0' is no attention .* take causal, one"),
        (f"{T2R_LM} --softmax-sublayers cross", "'cross' is no attention"),
        (f"{LITE_LM} --softmax-sublayers cross.0", "'cross.0' is no attention"),
        (f"{LITE} --softmax-sublayers encoder.0", "'encoder.0' is no attention .* take causal or cross, one"),
    ],
)
def test_mistakes(arch, message):
    with pytest.raises(UserError, match=f"--softmax-sublayers .*{message}") as error:
        built(arch)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "arch, stock",
    [
        (f"{T2R} {ALL} --softmax-sublayers causal,cross,encoder", "transformer_tiny"),
        (f"{T2R} --softmax-sublayers 0,cross.1,causal.1", "transformer_tiny"),
        (f"{LITE} --softmax-sublayers causal", "lite_transformer_tiny"),
    ],
)
def test_all_softmax_equals_the_stock_model(arch, stock, caplog):
    ours, theirs = built(arch), built(stock)
    assert len([record for record in caplog.records if "every attention keeps softmax" in record.message]) == 1
    ours.load_state_dict(theirs.state_dict(), strict=True)
    source, target = torch.randint(4, 50, (2, 7)), torch.randint(4, 50, (2, 6))
    torch.testing.assert_close(ours(source, None, target)[0], theirs(source, None, target)[0])


STOCK_LM = (
    "transformer_lm --decoder-embed-dim 64 --decoder-input-dim 64 --decoder-output-dim 64 --decoder-layers 2"
    " --decoder-attention-heads 2 --decoder-ffn-embed-dim 64"
)


@pytest.mark.parametrize("arch, stock", [(T2R_LM, STOCK_LM), (LITE_LM, "lite_transformer_lm_tiny")])
def test_a_language_model_of_softmax_equals_the_stock_one(arch, stock):
    ours, theirs = built(f"{arch} --softmax-sublayers 0,causal.1"), built(stock)
    ours.load_state_dict(theirs.state_dict(), strict=True)
    tokens = torch.randint(4, 50, (2, 9))
    torch.testing.assert_close(ours(tokens)[0], theirs(tokens)[0])


@pytest.mark.parametrize("arch", [f"{T2R_LM} --softmax-sublayers causal.1", f"{LITE_LM} --softmax-sublayers 0"])
def test_some_softmax_step_by_step_equals_at_once(arch):
    model, tokens, state = built(arch), torch.randint(4, 50, (2, 8)), {}
    steps = [model.decoder(tokens[:, : t + 1], incremental_state=state)[0] for t in range(8)]
    torch.testing.assert_close(torch.cat(steps, dim=1), model(tokens)[0], rtol=1e-5, atol=1e-5)


def test_options_of_an_older_checkpoint_have_no_such_option():
    cfg = copy.copy(built(T2R).cfg)
    del cfg.softmax_sublayers
    assert linear(type(built(T2R)).build_model(cfg, task_of_sizes(50, 50))) == "causal.0 causal.1 cross.0 cross.1"


@pytest.mark.parametrize(
    "item, expected",
    [("cross.3", "cross.1"), ("cross.1", None), ("2", "0"), ("cross", "cross"), ("encoder.2", "encoder.2"), ("9", "9")],
)
def test_renumbering(item, expected):
    assert renumbered(item, "decoder", [2, 3], 4) == expected
