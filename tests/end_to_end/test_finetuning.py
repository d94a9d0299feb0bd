"""A trained Transformer, its attention swapped, finetuned and run under fairseq's commands."""

import re
import shutil

import pytest
import torch
from checks import assert_one_line, assert_same_weights, bleu, perplexity

from fairseq_lite.models.fast_path import drop_fast_path_copies

NEW = ".feature_map."
SHORT = ("--max-update", 3, "--lr", 0.01)


@pytest.fixture(scope="session")
def finetune(train, transformer):
    """Finetunes it with linear attention; options override the defaults."""

    def finetune(save_dir, *options, **settings):
        return train(
            save_dir, "--task", "finetune_translation", "--arch", "t2r_transformer_tiny",
            "--pretrained", transformer, *options, **settings,
        )  # fmt: skip

    return finetune


@pytest.fixture(scope="session")
def finetuned(finetune, tmp_path_factory):
    folder = tmp_path_factory.mktemp("finetuned")
    process = finetune(folder, "--max-update", 150)
    return folder / "checkpoint_last.pt", process.stdout + process.stderr


def test_log_tells_what_was_copied_and_what_is_new(finetuned):
    _, log = finetuned
    assert re.search(r"copied \d+ tensors, [\d,]+ numbers; left over: (none|.*in_proj_weight)", log)
    assert re.search(r"new: 8 tensors, [\d,]+ numbers: \['decoder.layers.0.encoder_attn.feature_map.bias'", log)


@pytest.mark.parametrize("options", [(), ("--print-alignment",)])
def test_generates(generate, finetuned, options):
    output = generate(finetuned[0], *options).stdout
    assert bleu(output) > 60
    assert ("\nA-0" in output) == ("--print-alignment" in options)


def test_is_a_model_for_other_programs(finetuned, corpus, tmp_path, transformer):
    """The checkpoint that it was finetuned from is needed no more."""
    from fairseq_lite.models.t2r_transformer import T2RTransformerModel

    state = torch.load(finetuned[0])
    state["cfg"]["task"]["pretrained"] = str(tmp_path / "gone.pt")
    torch.save(state, tmp_path / "model.pt")
    hub = T2RTransformerModel.from_pretrained(tmp_path, "model.pt", data_name_or_path=str(corpus))
    assert set(hub.translate("w1 w2 w4 w5").replace("t@@ ", "t").split()) <= {f"t{n}" for n in range(12)}


def changed(before, after):
    return {name for name, tensor in before.items() if not torch.equal(tensor, after[name])}


@pytest.mark.parametrize(
    "options, trained",
    [
        ("--train-only feature-maps", r"\.feature_map\."),
        ("--train-only attention --ddp-backend legacy_ddp", r"decoder.*_attn\.(?!.*layer_norm)"),
        ("--train-only feature-maps --unfreeze-at 2", r"^(?!.*(version|_float_tensor)$)"),
    ],
)
def test_only_what_is_asked_for_is_trained(finetune, load, tmp_path, options, trained):
    options = [*options.split(), "--weight-decay", 0.1, "--update-freq", 2]
    finetune(tmp_path / "start", *options, "--max-update", 1, "--lr", 0)
    finetune(tmp_path / "end", *options, *SHORT)
    start, end = (load(tmp_path / name / "checkpoint_last.pt")["model"] for name in ("start", "end"))
    moved = changed(start, end)
    assert moved and all(re.search(trained, name) for name in moved)
    if "--unfreeze-at" in options:
        assert any(NEW not in name for name in moved)


def test_finetuning_resumed_in_a_later_epoch_equals_an_uninterrupted_one(finetune, load, tmp_path):
    uninterrupted, resumed = tmp_path / "uninterrupted", tmp_path / "resumed"
    options = "--train-only attention --unfreeze-at 26 --max-update 28 --save-interval-updates 24".split()
    finetune(uninterrupted, *options)
    (start,) = uninterrupted.glob("checkpoint_*_24.pt")
    assert load(start)["extra_state"]["train_iterator"]["epoch"] > 1
    resumed.mkdir()
    shutil.copy(start, resumed / "checkpoint_last.pt")
    finetune(resumed, *options)
    assert_same_weights(*(load(folder / "checkpoint_last.pt")["model"] for folder in (uninterrupted, resumed)))


def test_finetune_from_model_works_as_well(train, transformer, load, tmp_path):
    process = train(
        tmp_path, "--arch", "t2r_transformer_tiny", "--share-all-embeddings", "--finetune-from-model", transformer,
        "--max-update", 1, "--lr", 0,
    )  # fmt: skip
    before, after = load(transformer)["model"], load(tmp_path / "checkpoint_last.pt")["model"]
    drop_fast_path_copies(before)
    assert_same_weights(before, {name: after[name] for name in before})
    assert {name for name in after if name not in before} == {name for name in after if NEW in name}
    assert "keep initial values" in process.stdout + process.stderr


def test_a_lite_transformer_becomes_recurrent(finetune, generate, model, tmp_path):
    options = "--arch lite_transformer_tiny --decoder-feature-map t2r --linear-attention causal,cross".split()
    finetune(tmp_path, *options, "--pretrained", model / "checkpoint_last.pt", "--max-update", 100)
    assert bleu(generate(tmp_path / "checkpoint_last.pt").stdout) > 60


def test_a_language_model(train_language_model, run, text_corpus, tmp_path):
    sizes = "--decoder-embed-dim 32 --decoder-input-dim 32 --decoder-output-dim 32 --decoder-ffn-embed-dim 32".split()
    sizes += "--decoder-layers 2 --decoder-attention-heads 2".split()
    train_language_model(tmp_path / "stock", "--arch", "transformer_lm", *sizes, "--max-update", 100)
    train_language_model(
        tmp_path / "rnn", "--task", "finetune_language_modeling", "--arch", "t2r_transformer_lm",
        "--pretrained", tmp_path / "stock" / "checkpoint_last.pt", "--max-update", 60,
    )  # fmt: skip
    windows = "--sample-break-mode none --tokens-per-sample 32 --context-window 16 --max-sentences 1".split()
    for options, limit in (("--sample-break-mode eos".split(), 3), (windows, 5)):
        evaluated = run(
            "fairseq-eval-lm", text_corpus, "--user-dir", "fairseq_lite", "--cpu", "--max-tokens", 2000,
            "--path", tmp_path / "rnn" / "checkpoint_last.pt", *options,
        )  # fmt: skip
        assert perplexity(evaluated) < limit


@pytest.mark.parametrize(
    "options, parts",
    [
        (
            "--decoder-ffn-embed-dim 32",
            ["was trained with other options", "--decoder-ffn-embed-dim 32, where it has 64"],
        ),
        ("--pretrained nowhere.pt", ["nowhere.pt: no such file"]),
        ("--unfreeze-at 5", ["--unfreeze-at 5: nothing is frozen; give --train-only too"]),
        ("--train-only attention --unfreeze-at -1", ["--unfreeze-at -1: must be at least 0"]),
        ("--train-only feature-maps --feature-map elu", ["--train-only feature-maps: the model has no such weights"]),
        ("--train-only heads", ["--train-only", "heads"]),
        ("--causal-feature-dim 0", ["--causal-feature-dim 0: must be a whole number from 1"]),
        ("--feature-map cos", ["--feature-map", "cos", "elu"]),
        ("--softmax-layers 2", ["--softmax-layers 2: the decoder has no layer 2"]),
    ],
)
def test_mistakes(finetune, tmp_path, options, parts):
    process = finetune(tmp_path / "model", *options.split(), *SHORT, succeeds=False)
    assert_one_line(process, *parts)
    assert not list(tmp_path.rglob("*.pt"))


def test_a_checkpoint_of_another_vocabulary(finetune, train, run, tmp_path):
    raw = tmp_path / "raw"
    for side in ("de", "en"):
        raw.with_suffix(f".{side}").write_text("one two three\n" * 20)
    run(
        "fairseq-preprocess", "--joined-dictionary", "--source-lang", "de", "--target-lang", "en",
        "--trainpref", raw, "--destdir", tmp_path / "data",
    )  # fmt: skip
    process = finetune(tmp_path / "model", *SHORT, data=tmp_path / "data", succeeds=False)
    assert_one_line(process, "the dictionary is not the one that it was trained with", "decoder.embed_tokens.weight is")


def test_a_t2r_checkpoint_for_a_stock_architecture(train, finetuned, tmp_path):
    process = train(
        tmp_path / "model", "--arch", "transformer_tiny", "--share-all-embeddings",
        "--finetune-from-model", finetuned[0], *SHORT, succeeds=False,
    )  # fmt: skip
    assert_one_line(process, str(finetuned[0]), "another architecture")
