import pytest
import torch

from fairseq_lite.building import build_architecture
from fairseq_lite.errors import UserError
from fairseq_lite.modules import LinearAttention


def translator(*options):
    return build_architecture("t2r_transformer_tiny", list(options), vocab_size=50)


def language_model(*options):
    return build_architecture("t2r_transformer_lm_tiny", list(options), vocab_size=50).eval()


def linear_modules(model):
    return [name for name, module in model.named_modules() if isinstance(module, LinearAttention)]


@pytest.mark.parametrize(
    "options, swapped",
    [
        ("", ["decoder.layers.*.self_attn", "decoder.layers.*.encoder_attn"]),
        ("--linear-attention causal", ["decoder.layers.*.self_attn"]),
        ("--linear-attention cross,encoder", ["encoder.layers.*.self_attn", "decoder.layers.*.encoder_attn"]),
    ],
)
def test_attention_is_linear_where_the_option_says(options, swapped):
    expected = {name.replace("*", str(layer)) for name in swapped for layer in (0, 1)}
    assert set(linear_modules(translator(*options.split()))) == expected


def test_softmax_layers_keep_their_number_when_layers_are_dropped():
    options = ["--decoder-layers", "4", "--softmax-layers", "0,2", "--decoder-layers-to-keep", "2,3"]
    assert linear_modules(translator(*options)) == ["decoder.layers.1.self_attn", "decoder.layers.1.encoder_attn"]


@pytest.mark.parametrize(
    "name, stock",
    [
        ("t2r_transformer_iwslt_de_en", "transformer_iwslt_de_en"),
        ("t2r_transformer_wmt_en_de", "transformer_wmt_en_de"),
        ("t2r_transformer_wmt_en_de_big", "transformer_wmt_en_de_big"),
        ("t2r_transformer_lm", "transformer_lm"),
        ("t2r_transformer_lm_wiki103", "transformer_lm_wiki103"),
    ],
)
def test_adds_only_feature_maps_to_the_stock_model(name, stock):
    options = ["--decoder-layers", "1", *([] if "_lm" in name else ["--encoder-layers", "1"])]
    ours, theirs = build_architecture(name, options), build_architecture(stock, options)
    heads, head_dim = ours.decoder.layers[0].self_attn.num_heads, ours.decoder.layers[0].self_attn.head_dim
    features = 32 if "_lm" in name else 4 + 32
    shapes = {key: tensor.shape for key, tensor in ours.state_dict().items() if ".feature_map." not in key}
    assert shapes == {key: tensor.shape for key, tensor in theirs.state_dict().items()}
    count = [sum(p.numel() for p in model.parameters()) for model in (ours, theirs)]
    assert count[0] - count[1] == heads * features * (head_dim + 1)


def test_language_model_step_by_step_equals_teacher_forcing():
    model, tokens, state = language_model(), torch.randint(4, 50, (3, 10)), {}
    steps = [model.decoder(tokens[:, : t + 1], incremental_state=state)[0] for t in range(10)]
    torch.testing.assert_close(torch.cat(steps, dim=1), model(tokens)[0], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("arch", ["t2r_transformer_lm_tiny", "lite_transformer_lm_tiny --decoder-feature-map t2r"])
def test_the_state_does_not_grow_with_the_text(arch):
    name, *options = arch.split()
    model, tokens, state = build_architecture(name, options, 50).eval(), torch.randint(4, 50, (1, 40)), {}
    sizes = []
    for t in range(40):
        model.decoder(tokens[:, : t + 1], incremental_state=state)
        sizes.append(sum(tensor.numel() for past in state.values() for tensor in past.values()))
    assert len(set(sizes)) == 1


def test_no_mask_of_all_pairs_is_made():
    model = language_model()
    model(torch.randint(4, 50, (1, 30)))
    assert model.decoder._future_mask.numel() == 0


@pytest.mark.parametrize(
    "options, message",
    [
        ("--feature-map cos", "--feature-map: invalid choice: 'cos'"),
        ("--causal-feature-dim 0", "--causal-feature-dim 0: must be a whole number from 1"),
        ("--cross-feature-dim -3", "--cross-feature-dim -3: must be a whole number from 1"),
        ("--feature-map rfa --cross-feature-dim 5", "--cross-feature-dim 5: must be an even number"),
        ("--linear-attention causal,local", "--linear-attention causal,local: take some of causal, cross, encoder"),
        ("--softmax-layers 1,2", "--softmax-layers 1,2: the decoder has no layer 2; its 2 layers count from 0"),
        ("--softmax-layers first", "--softmax-layers first: the decoder has no layer first"),
        ("--causal-window 4", "--causal-window 4: needs the feature map exp, on softmax's scale; t2r is on another"),
        ("--feature-map exp --causal-window 0", "--causal-window 0: must be a whole number at least 1"),
        ("--feature-map exp --causal-window -1", "--causal-window -1: must be a whole number at least 1"),
        ("--feature-map exp --causal-window 1025", "--causal-window 1025: is more than the decoder's 1024 positions"),
        ("--feature-map exp --causal-window 4 --causal-gate", "--causal-window 4: not possible with --causal-gate"),
        ("--cross-self-attention", "--cross-self-attention: not possible"),
    ],
)
def test_options_that_do_not_fit_together(options, message):
    with pytest.raises(UserError, match=message):
        translator(*options.split())


def test_options_of_a_language_model():
    with pytest.raises(UserError, match="--causal-feature-dim 0: must be a whole number from 1"):
        language_model("--causal-feature-dim", "0")
    with pytest.raises(UserError, match="--causal-window 9: is more than the decoder's 8 positions"):
        language_model("--feature-map", "exp", "--causal-window", "9", "--tokens-per-sample", "8")


def test_the_branch_of_a_lite_transformer():
    with pytest.raises(UserError, match="--softmax-layers 7: the decoder has no layer 7"):
        options = ["--decoder-feature-map", "t2r", "--softmax-layers", "7"]
        build_architecture("lite_transformer_tiny", options, vocab_size=50)
    with pytest.raises(UserError, match="--causal-window 4: needs the feature map exp"):
        build_architecture("lite_transformer_tiny", ["--decoder-feature-map", "t2r", "--causal-window", "4"])
