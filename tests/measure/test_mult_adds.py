import argparse
import json

import pytest
import torch
import torch.nn as nn
from fairseq.models import BaseFairseqModel

import fairseq_lite  # noqa: F401  registers the architectures
from fairseq_lite.cli import mult_adds as command
from fairseq_lite.errors import UserError
from fairseq_lite.measure.counted_convolutions import REPLACEMENTS
from fairseq_lite.measure.mult_adds import count_mult_adds

LENGTHS = [(30, 30), (7, 12)]
KERNEL_SIZES = [3, 15]


def build(arch, options="", vocab_size=None):
    return command.build_architecture(arch, options.split(), vocab_size)


def both(**options):
    return " ".join(
        f"--{side}-{name.replace('_', '-')} {value}"
        for side in ("encoder", "decoder")
        for name, value in options.items()
    )


def attention(query_len, key_len, dim):
    """Four projections and the two products."""
    return dim * dim * (2 * query_len + 2 * key_len) + 2 * query_len * key_len * dim


def separable(length, in_dim, out_dim, kernel_size):
    return length * in_dim * (kernel_size + out_dim)


def ffn(length, dim, inner):
    return 2 * length * dim * inner


def convolution(length, dim, kernel_size, heads, dynamic, glu):
    """linear1, the predicted taps, the convolution, linear2."""
    taps = heads * kernel_size if dynamic else 0
    return length * dim * ((2 if glu else 1) * dim + taps + kernel_size + dim)


@pytest.mark.parametrize("src_len, tgt_len", LENGTHS)
@pytest.mark.parametrize("dim, inner", [(16, 40), (64, 24)])
def test_transformer_by_formula(dim, inner, src_len, tgt_len):
    model = build("transformer", both(embed_dim=dim, ffn_embed_dim=inner, layers=2, attention_heads=4))
    encoder = attention(src_len, src_len, dim) + ffn(src_len, dim, inner)
    decoder = attention(tgt_len, tgt_len, dim) + attention(tgt_len, src_len, dim) + ffn(tgt_len, dim, inner)
    assert count_mult_adds(model, src_len, tgt_len).total == 2 * (encoder + decoder)


@pytest.mark.parametrize("src_len, tgt_len", LENGTHS)
def test_t2r_transformer_by_formula(src_len, tgt_len):
    dim, inner, heads, past, source = 16, 24, 4, 6, 10
    sizes = both(embed_dim=dim, ffn_embed_dim=inner, layers=2, attention_heads=heads)
    features = f" --causal-feature-dim {past} --cross-feature-dim {source}"
    encoder = attention(src_len, src_len, dim) + ffn(src_len, dim, inner)
    projections = 4 * tgt_len * dim**2 + 2 * (tgt_len + src_len) * dim**2
    # phi(q), phi(k) and the triangle in the one chunk; the state after it goes nowhere
    causal = 2 * tgt_len * dim * past + tgt_len**2 * (heads * past + dim)
    # phi(k) and S over the source; phi(q), S and z of each query
    cross = 2 * src_len * dim * source + tgt_len * (2 * dim * source + heads * source)
    decoder = projections + causal + cross + ffn(tgt_len, dim, inner)
    model = build("t2r_transformer", sizes + features)
    assert count_mult_adds(model, src_len, tgt_len).total == 2 * (encoder + decoder)


@pytest.mark.parametrize("window", [1, 8, 40])
def test_a_window_by_formula(window):
    dim, inner, heads, k, length = 16, 24, 4, 6, 30
    sizes = f"--decoder-embed-dim {dim} --decoder-ffn-embed-dim {inner} --decoder-layers 2"
    options = f"{sizes} --decoder-attention-heads {heads} --feature-map exp --causal-feature-dim {k}"
    model = build("t2r_transformer_lm", f"{options} --causal-window {window}")
    window = min(window, length)
    projections = 4 * length * dim**2
    # phi of every query, and of every key that leaves the window
    features = length * dim * k + (length - window) * dim * k
    older, recent = length**2 * (heads * k + dim), 2 * length * (length + window - 1) * dim
    layer = projections + features + older + recent + ffn(length, dim, inner)
    assert count_mult_adds(model, tgt_len=length).total == 2 * layer


@pytest.mark.parametrize(
    "adaptive",
    ["", "--adaptive-input --adaptive-input-cutoff 20,60 --adaptive-softmax-cutoff 20,60"],
)
def test_transformer_lm_by_formula(adaptive):
    dim, inner, layers, length = 16, 48, 3, 25
    dims = " ".join(f"--decoder-{name}-dim {dim}" for name in ("embed", "input", "output"))
    sizes = f"--decoder-ffn-embed-dim {inner} --decoder-layers {layers} --decoder-attention-heads 2"
    model = build("transformer_lm", f"{dims} {sizes} {adaptive}")
    layer = attention(length, length, dim) + ffn(length, dim, inner)
    assert count_mult_adds(model, tgt_len=length).total == layers * layer


@pytest.mark.parametrize("arch, limits", [("lite_transformer_tiny", (12, 9)), ("lite_transformer_lm_tiny", (None, 9))])
def test_a_length_that_is_not_given_fits_the_model(arch, limits):
    options = [f"--max-{side}-positions={limit}" for side, limit in zip(("source", "target"), limits) if limit]
    model = build(arch, " ".join(options))
    assert count_mult_adds(model).total == count_mult_adds(model, *limits).total
    assert count_mult_adds(build(arch)).total == count_mult_adds(build(arch), 30, 30).total


@pytest.mark.parametrize("length", [7, 30])
@pytest.mark.parametrize("heads", [[], [("first", 5, 12), ("second", 3, 20)]])
def test_roberta_by_formula(heads, length):
    dim, inner, layers = 16, 48, 3
    sizes = f"--encoder-embed-dim {dim} --encoder-ffn-embed-dim {inner} --encoder-layers {layers}"
    model = build("roberta", f"{sizes} --encoder-attention-heads 2")
    for name, classes, hidden in heads:
        model.register_classification_head(name, num_classes=classes, inner_dim=hidden)
    # the first head alone, on the first token
    head = sum(dim * hidden + hidden * classes for _, classes, hidden in heads[:1])
    counted = count_mult_adds(model, src_len=length, tgt_len=999)
    layer = attention(length, length, dim) + ffn(length, dim, inner)
    assert counted.total == layers * layer + head
    assert counted.by_module.get("classification_heads.first", 0) == head
    assert not [name for name in counted.by_module if "lm_head" in name]


def test_layer_of_roberta_base_by_formula():
    layer = attention(30, 30, 768) + ffn(30, 768, 3072)
    assert count_mult_adds(build("roberta_base", "--encoder-layers 1")).total == layer


@pytest.mark.parametrize("src_len, tgt_len", LENGTHS)
@pytest.mark.parametrize("conv_type", ["lightweight", "dynamic"])
@pytest.mark.parametrize("glu", [False, True])
def test_lightconv_by_formula(conv_type, glu, src_len, tgt_len):
    dim, inner, heads = 16, 40, 4
    sizes = both(
        embed_dim=dim,
        conv_dim=dim,
        ffn_embed_dim=inner,
        layers=2,
        attention_heads=heads,
        glu=glu,
        conv_type=conv_type,
        kernel_size_list=str(KERNEL_SIZES).replace(" ", ""),
    )
    model = build("lightconv", sizes)
    expected = 0
    for kernel_size in KERNEL_SIZES:
        for length in (src_len, tgt_len):
            expected += convolution(length, dim, kernel_size, heads, conv_type == "dynamic", glu) + ffn(
                length, dim, inner
            )
        expected += attention(tgt_len, src_len, dim)
    assert count_mult_adds(model, src_len, tgt_len).total == expected


@pytest.mark.parametrize("src_len, tgt_len", LENGTHS)
@pytest.mark.parametrize("conv_type", ["lightweight", "dynamic"])
@pytest.mark.parametrize("glu", [False, True])
def test_lite_transformer_by_formula(conv_type, glu, src_len, tgt_len):
    dim, attention_dim, heads = 24, 8, 4
    sizes = both(
        layers=2,
        attention_heads=2,
        attention_dim=attention_dim,
        conv_heads=heads,
        conv_type=conv_type,
        kernel_sizes=",".join(map(str, KERNEL_SIZES)),
    )
    gates = "--encoder-conv-glu --decoder-conv-glu" if glu else ""
    model = build("lite_transformer", f"--encoder-embed-dim {dim} {sizes} {gates}")
    expected = 0
    for kernel_size in KERNEL_SIZES:
        for length in (src_len, tgt_len):
            conv = convolution(length, dim - attention_dim, kernel_size, heads, conv_type == "dynamic", glu)
            expected += conv + attention(length, length, attention_dim) + ffn(length, dim, dim)
        expected += attention(tgt_len, src_len, dim)
    assert count_mult_adds(model, src_len, tgt_len).total == expected


@pytest.mark.parametrize("src_len, tgt_len", LENGTHS)
def test_evolved_transformer_by_formula(src_len, tgt_len):
    dim = 16
    branches = src_len * (4 * dim**2 + 3 * dim * dim // 2) + separable(src_len, 4 * dim, dim // 2, 9)
    encoder = 2 * src_len * dim**2 + branches + attention(src_len, src_len, dim) + ffn(src_len, dim, 4 * dim)
    branches = separable(tgt_len, dim, 2 * dim, 11) + separable(tgt_len, dim, dim // 2, 7)
    convolutions = branches + separable(tgt_len, 2 * dim, dim, 7)
    attentions = 2 * (attention(tgt_len, tgt_len, dim) + attention(tgt_len, src_len, dim))
    decoder = attentions + convolutions + ffn(tgt_len, dim, 4 * dim)
    model = build("evolved_transformer", f"--encoder-embed-dim {dim}")
    assert count_mult_adds(model, src_len, tgt_len).total == 3 * encoder + 4 * decoder


@pytest.mark.parametrize(
    "arch, options, tgt_len, vocab_size, mult_adds, parameters",
    [
        ("lite_transformer_iwslt_de_en", "", 30, 6632, 54.7, 2.77),
        ("lite_transformer_iwslt_de_en_240", "", 30, 6632, 120, 5.43),
        ("lite_transformer_iwslt_de_en_320", "", 30, 6632, 211, 8.93),
        ("lite_transformer_wmt_en_de_90m", "", 30, None, 90.7, 2.88),
        ("lite_transformer_wmt_en_de_360m", "", 30, None, 361, 11.74),
        ("lite_transformer_wmt_en_de_527m", "", 30, None, 529, 17.28),
        ("lite_transformer_cnndm", "", 60, None, 801, 17.28),
        ("lite_transformer_lm_wiki103", "", 30, None, 1129, 37.2),
        ("evolved_transformer_mobile", "", 30, None, 93.0, 2.99),
        ("transformer_wmt_en_de", "--share-all-embeddings", 30, None, 1338, 44.1),
    ],
)
def test_published_table(arch, options, tgt_len, vocab_size, mult_adds, parameters):
    counted = count_mult_adds(build(arch, options, vocab_size), 30, tgt_len)
    assert counted.total == pytest.approx(mult_adds * 1e6, rel=5e-3)
    assert counted.parameters_without_embeddings == pytest.approx(parameters * 1e6, rel=5e-3)


def test_parts_add_up_to_the_total():
    by_module = count_mult_adds(build("lite_transformer_tiny")).by_module
    layers = [f"{side}.layers.{layer}" for side in ("encoder", "decoder") for layer in (0, 1)]
    assert sum(by_module[layer] for layer in layers) == by_module["encoder"] + by_module["decoder"]
    first = "encoder.layers.0.self_attn"
    assert by_module[first] == by_module[f"{first}.attention"] + by_module[f"{first}.conv"]
    assert not [name for name in by_module if "output_projection" in name]


def test_shared_parameters_count_once():
    separate, shared = (
        count_mult_adds(build("transformer_tiny", options, 100)) for options in ("", "--share-all-embeddings")
    )
    table = 100 * 64
    assert separate.parameters - shared.parameters == 2 * table
    assert separate.parameters_without_embeddings - shared.parameters_without_embeddings == table


def replaced_functions():
    return [getattr(owner, name) for owner, name, _ in REPLACEMENTS]


@pytest.mark.parametrize("arch", ["lite_transformer_tiny", "lightconv_iwslt_de_en"])
def test_model_is_left_as_it_was(arch):
    model = build(arch).train()
    model.decoder.layers[0].eval()
    modes = [module.training for module in model.modules()]
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    functions = replaced_functions()
    random_state = torch.get_rng_state()

    count_mult_adds(model)

    assert [module.training for module in model.modules()] == modes
    torch.testing.assert_close(dict(model.state_dict()), state, rtol=0, atol=0, equal_nan=True)
    assert all(parameter.requires_grad and parameter.grad is None for parameter in model.parameters())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
    assert replaced_functions() == functions
    assert torch.get_rng_state().equal(random_state)
    assert torch.is_grad_enabled()


def test_arithmetic_without_a_rule_is_an_error():
    model = build("lite_transformer_tiny")
    model.encoder.layers[0].fc1.register_forward_hook(lambda module, inputs, output: output.cumprod(dim=-1))
    with pytest.raises(UserError, match="aten::cumprod"):
        count_mult_adds(model)


class NoDecoder(BaseFairseqModel):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(2, 2)


@pytest.mark.parametrize("model", [NoDecoder(), nn.Linear(2, 2)])
def test_other_models_are_an_error(model):
    with pytest.raises(UserError, match=type(model).__name__):
        count_mult_adds(model)


@pytest.mark.parametrize(
    "options, lengths, message",
    [
        ("lite_transformer_tiny", (0, 30), "src_len 0"),
        ("lite_transformer_tiny", (30, 5000), "tgt_len 5000"),
        ("roberta --encoder-layers 1 --max-positions 40", (41, 30), "src_len 41.*1 to 40"),
    ],
)
def test_impossible_lengths_are_an_error(options, lengths, message):
    arch, *options = options.split()
    with pytest.raises(UserError, match=message):
        count_mult_adds(command.build_architecture(arch, options), *lengths)


def run(line):
    parser = argparse.ArgumentParser(allow_abbrev=False)
    command.add_arguments(parser)
    args, args.rest = parser.parse_known_args(line.split())
    command.run(args)


def test_json_of_the_command(capsys):
    run("--arch lite_transformer_tiny --encoder-embed-dim 48 --src-len 10 --json")
    printed = json.loads(capsys.readouterr().out)
    counted = count_mult_adds(build("lite_transformer_tiny", "--encoder-embed-dim 48"), src_len=10)
    assert printed == {
        "mult_adds": counted.total,
        "parameters": counted.parameters,
        "parameters_without_embeddings": counted.parameters_without_embeddings,
        "src_len": 10,
        "tgt_len": 30,
        "modules": counted.by_module,
    }


def test_command_on_a_checkpoint(monkeypatch, capsys):
    model = build("lite_transformer_tiny")
    monkeypatch.setattr(command, "load_model", {"model.pt": model}.get)
    run("model.pt --json")
    assert json.loads(capsys.readouterr().out)["mult_adds"] == count_mult_adds(model).total


def test_table_of_the_command(capsys):
    run("--arch lite_transformer_wmt_en_de_90m")
    printed = capsys.readouterr().out
    for expected in ("self_attn", "attention", "conv", "encoder_attn", "fc1", "90.66 M", "2.88 M"):
        assert expected in printed


@pytest.mark.parametrize(
    "line, message",
    [
        (
            "--arch lite_transformer_tinny",
            "lite_transformer_tinny: unknown architecture.*lite_transformer_tiny",
        ),
        ("--arch lite_transformer_tiny --no-such-option 3", "--no-such-option 3"),
        ("--arch lite_transformer_tiny --encoder-embed-dim wide", "--encoder-embed-dim.*wide"),
        ("--arch lite_transformer_lm_wiki103 --vocab-size 60000", "--vocab-size 60000.*60004"),
        ("", "--arch NAME"),
        ("missing.pt", "missing.pt: no such file"),
        ("first.pt second.pt", "first.pt second.pt.*one checkpoint"),
    ],
)
def test_mistakes_are_told_in_one_line(line, message):
    with pytest.raises(UserError, match=message):
        run(line)
