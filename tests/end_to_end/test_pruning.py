"""Prune, recover, shrink and generate with fairseq's commands."""

import inspect
import random
import re

import pytest
import torch
from checks import assert_one_line, assert_same_weights, bleu, perplexity
from fairseq import checkpoint_utils

STOCK = ("--arch transformer_tiny --share-all-embeddings --criterion label_smoothed_cross_entropy_with_pruning").split()
TINY = [
    f"--{side}-{option}"
    for side in ("encoder", "decoder")
    for option in ("embed-dim=64", "ffn-embed-dim=64", "layers=2", "attention-heads=2")
]
HALF = "--pruning-target 0.5 --pruning-start 20 --pruning-end 120 --pruning-steps 5".split()
LITE = "--arch lite_transformer_tiny --share-all-embeddings --criterion cross_entropy_with_pruning".split()
EVERYTHING = "--pruning-target 1 --pruning-end 2 --pruning-steps 2 --max-update 4".split()


@pytest.fixture(scope="module")
def masked(train, tmp_path_factory):
    """A stock Transformer trained while half of its neurons were pruned."""
    folder = tmp_path_factory.mktemp("masked")
    train(folder, *STOCK, *HALF, "--max-update", 300, "--save-interval-updates", 60)
    return folder


@pytest.fixture(scope="module")
def shrunk(run, masked):
    run("fairseq-lite", "shrink", masked / "checkpoint_last.pt", masked / "shrunk.pt")
    return masked / "shrunk.pt"


@pytest.fixture(scope="module")
def generate(run, corpus):
    def generate(path, *options, **environment):
        process = run(
            "fairseq-generate", corpus, "--cpu", "--path", path, "--beam", 3, "--scoring", "sacrebleu",
            "--max-tokens", 2000, *options, **environment,
        )  # fmt: skip
        hypotheses = {}
        for line in process.stdout.splitlines():
            if line.startswith("H-"):
                number, _, words = line.split("\t")
                hypotheses[number] = words
        return hypotheses, bleu(process.stdout)

    return generate


def prunable_weights(state):
    return [tensor for name, tensor in state.items() if re.search(r"(proj|layers\.\d+\.fc\d)\.weight$", name)]


def sparsity(state):
    rows = torch.cat([(weight == 0).all(dim=1) for weight in prunable_weights(state)])
    return rows.float().mean().item()


def test_every_checkpoint_has_the_sparsity_of_its_time(masked, load):
    reached = {
        int(path.stem.split("_")[-1]): sparsity(load(path)["model"]) for path in masked.glob("checkpoint_*_*.pt")
    }
    assert reached == pytest.approx({60: 0.2, 120: 0.5, 180: 0.5, 240: 0.5, 300: 0.5}, abs=0.005)


def test_a_checkpoint_holds_the_model_once(masked, load):
    assert not load(masked / "checkpoint_last.pt").get("criterion")


def test_the_plain_model_loads_without_the_plugin_and_the_shrunk_one_says_the_same(generate, masked, shrunk, plugin):
    # torch from 2.6 on refuses every such checkpoint of fairseq's unless the plugin, or this, allows it
    plain, _ = generate(masked / "checkpoint_last.pt", TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD="1")
    with_plugin, score = generate(masked / "checkpoint_last.pt", "--user-dir", plugin)
    # some distributions drop the end of a test set, which the plugin mends
    assert len(plain) >= 40 and plain.items() <= with_plugin.items()
    assert score > 50
    assert generate(shrunk, "--user-dir", plugin) == (with_plugin, score)


def test_shrinking_tells_what_is_left_and_keeps_its_input(run, masked, tmp_path):
    dense = masked / "checkpoint_last.pt"
    told = run("fairseq-lite", "shrink", dense, tmp_path / "shrunk.pt").stdout
    assert "Mult-Adds" in told and "parameters" in told
    assert_one_line(run("fairseq-lite", "shrink", dense, dense, succeeds=False), str(dense), "is an input")


def test_sparsity_of_the_masked_and_of_the_shrunk_checkpoint(run, masked, shrunk, tmp_path):
    tables = [run("fairseq-lite", "sparsity", path).stdout for path in (masked / "checkpoint_last.pt", shrunk)]
    assert tables[0] == tables[1]
    assert tables[0].split()[-1] == "50"
    pytest.importorskip("matplotlib")
    run("fairseq-lite", "sparsity", shrunk, "--plot", tmp_path / "map.png")
    assert (tmp_path / "map.png").stat().st_size > 10_000


def test_a_shrunk_checkpoint_averages_and_trains_on(run, train, shrunk, tmp_path, load):
    run("fairseq-lite", "average", shrunk, shrunk, tmp_path / "mean.pt")
    before = load(shrunk)["model"]
    assert_same_weights(before, load(tmp_path / "mean.pt")["model"])
    train(
        tmp_path, "--arch", "pruned_transformer", *TINY, "--share-all-embeddings", "--pruned-widths", shrunk,
        "--finetune-from-model", shrunk, "--max-update", 2,
    )  # fmt: skip
    after = load(tmp_path / "checkpoint_last.pt")["model"]
    assert {name: tensor.shape for name, tensor in after.items()} == {name: t.shape for name, t in before.items()}


def test_resuming_equals_an_uninterrupted_run(train, load, tmp_path):
    # within a window, or in recovery where fairseq keeps nothing of what was collected
    cut = 6 if "get_checkpoint_dict" in inspect.getsource(checkpoint_utils.save_checkpoint) else 13
    pruning = "--pruning-target 0.6 --pruning-end 12 --pruning-steps 3 --max-tokens 200".split()
    train(tmp_path / "whole", *LITE, *pruning, "--max-update", 15)
    train(tmp_path / "parts", *LITE, *pruning, "--max-update", cut)
    train(tmp_path / "parts", *LITE, *pruning, "--max-update", 15)
    whole, parts = (load(tmp_path / name / "checkpoint_last.pt")["model"] for name in ("whole", "parts"))
    assert_same_weights(whole, parts)


def test_a_target_of_zero_changes_nothing(train, load, tmp_path):
    few = "--max-update 8 --max-tokens 200".split()
    train(tmp_path / "pruning", *STOCK, *few, "--pruning-target", 0, "--pruning-end", 6)
    train(tmp_path / "plain", *STOCK[:-1], STOCK[-1].replace("_with_pruning", ""), *few)
    assert_same_weights(*(load(tmp_path / name / "checkpoint_last.pt")["model"] for name in ("plain", "pruning")))


@pytest.mark.parametrize("options", [STOCK, LITE], ids=["transformer", "lite"])
def test_a_model_without_any_neuron_still_runs(run, train, generate, tmp_path, plugin, options):
    train(tmp_path, *options, *EVERYTHING)
    run("fairseq-lite", "shrink", tmp_path / "checkpoint_last.pt", tmp_path / "shrunk.pt")
    generate(tmp_path / "shrunk.pt", "--user-dir", plugin)


@pytest.mark.parametrize(
    "options", ["--pruning-granularity weight --pruning-importance magnitude", "--pruning-importance random"]
)
def test_other_importances_and_granularities(train, load, tmp_path, options):
    train(tmp_path, *STOCK, *options.split(), *"--pruning-target 0.5 --pruning-end 2 --max-update 4".split())
    state = load(tmp_path / "checkpoint_last.pt")["model"]
    entries = torch.cat([weight.flatten() for weight in prunable_weights(state)])
    assert (entries == 0).float().mean() == pytest.approx(0.5, abs=0.03)


def test_language_model(run, train_language_model, text_corpus, tmp_path, plugin):
    train_language_model(
        tmp_path, "--criterion", "adaptive_loss_with_pruning", "--adaptive-softmax-cutoff", "8",
        *"--ddp-backend legacy_ddp --pruning-target 0.3 --pruning-end 40 --max-update 100".split(),
    )  # fmt: skip
    run("fairseq-lite", "shrink", tmp_path / "checkpoint_last.pt", tmp_path / "shrunk.pt")
    options = "--user-dir", plugin, "--cpu", "--tokens-per-sample", 64, "--path"
    scores = [
        perplexity(run("fairseq-eval-lm", text_corpus, *options, tmp_path / name))
        for name in ("checkpoint_last.pt", "shrunk.pt")
    ]
    assert scores[0] == scores[1]


@pytest.fixture(scope="module")
def labelled_corpus(run, tmp_path_factory):
    """Sentences with a label: whether they begin with an even word."""
    raw, binarised = tmp_path_factory.mktemp("raw"), tmp_path_factory.mktemp("labelled")
    rng = random.Random(3)
    for split, size in (("train", 400), ("valid", 40)):
        sentences = [[rng.randrange(8) for _ in range(rng.randint(2, 6))] for _ in range(size)]
        (raw / f"{split}.text").write_text("".join(" ".join(f"w{n}" for n in s) + "\n" for s in sentences))
        (raw / f"{split}.label").write_text("".join(f"{s[0] % 2}\n" for s in sentences))
    for kind, folder in (("text", "input0"), ("label", "label")):
        run(
            "fairseq-preprocess", "--only-source", "--trainpref", raw / f"train.{kind}",
            "--validpref", raw / f"valid.{kind}", "--destdir", binarised / folder,
        )  # fmt: skip
    return binarised


def test_classifier(run, labelled_corpus, tmp_path, plugin):
    run(
        "fairseq-train", labelled_corpus, "--user-dir", plugin, "--task", "sentence_prediction", "--num-classes", 2,
        "--init-token", 0, "--arch", "roberta", *"--encoder-embed-dim 32 --encoder-ffn-embed-dim 64".split(),
        *"--encoder-layers 2 --encoder-attention-heads 2 --max-positions 32".split(),
        "--criterion", "sentence_prediction_with_pruning", *"--pruning-targets q=1,k=1,i=0.4 --pruning-end 60".split(),
        *"--cpu --optimizer adam --lr 0.002 --batch-size 20 --max-update 200 --seed 1".split(),
        *"--no-progress-bar --no-epoch-checkpoints --num-workers 0 --required-batch-size-multiple 1".split(),
        "--save-dir", tmp_path,
    )  # fmt: skip
    run("fairseq-lite", "shrink", tmp_path / "checkpoint_last.pt", tmp_path / "shrunk.pt")
    losses = []
    for name in ("checkpoint_last.pt", "shrunk.pt"):
        process = run(
            "fairseq-validate", labelled_corpus, "--user-dir", plugin, "--cpu", "--path", tmp_path / name,
            "--task", "sentence_prediction", "--num-classes", 2, "--init-token", 0,
            "--criterion", "sentence_prediction", "--max-positions", 32, "--batch-size", 20,
        )  # fmt: skip
        losses.append(re.findall(r"(?:loss|accuracy) \S+", process.stdout + process.stderr))
    assert losses[0] and losses[0] == losses[1]


def test_options_that_do_not_fit(train, tmp_path):
    options = "--pruning-target 0.5 --pruning-start 9 --pruning-end 5".split()
    assert_one_line(train(tmp_path / "model", *STOCK, *options, succeeds=False), "--pruning-start 9 --pruning-end 5")
    assert not list(tmp_path.rglob("*.pt"))


def test_a_component_that_the_model_has_not(train, tmp_path):
    options = "--pruning-target 0.5 --pruning-end 5 --pruning-components p".split()
    process = train(tmp_path / "model", *STOCK, *options, succeeds=False)
    assert_one_line(process, "--pruning-components", "has no p", "it has q, k, v, ao, i, o")


def test_checkpoints_that_cannot_be_shrunk(run, model, train, tmp_path):
    dense = model / "checkpoint_last.pt"
    assert_one_line(run("fairseq-lite", "shrink", dense, tmp_path / "out.pt", succeeds=False), str(dense), "no neuron")
    train(tmp_path / "conv", "--arch", "lightconv_iwslt_de_en", "--max-update", 1)
    other = tmp_path / "conv" / "checkpoint_last.pt"
    assert_one_line(
        run("fairseq-lite", "shrink", other, tmp_path / "out.pt", succeeds=False), "lightconv", "cannot be shrunk"
    )
    assert not (tmp_path / "out.pt").exists()
