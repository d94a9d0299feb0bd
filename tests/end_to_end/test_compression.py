"""Compressed checkpoints under fairseq's commands."""

import json
import re

import pytest
import torch
from checks import assert_one_line, assert_same_weights, bleu, learnt, perplexity

# The least BLEU, and the largest loss, of the trained models: the stock one has learnt half of the task.
MODELS = {"lite": (60, 2), "stock": (15, 3)}


@pytest.fixture(scope="module")
def compress(run, tmp_path_factory):
    """Compresses a checkpoint; returns the path of the result."""

    def compress(path, *options):
        small = tmp_path_factory.mktemp("compressed") / "small.pt"
        run("fairseq-lite", "compress", path, small, *options)
        return small

    return compress


@pytest.fixture(scope="module")
def trained(model, transformer):
    return {"lite": model / "checkpoint_last.pt", "stock": transformer}


@pytest.fixture(scope="module")
def compressed(compress, trained):
    """Trained models in six bits a weight, by name."""
    return {name: compress(path, "--bits", 6, "--entropy-code") for name, path in trained.items()}


def translations(process):
    return sorted(line for line in process.stdout.splitlines() if line.startswith("D-"))


@pytest.mark.parametrize("name", MODELS)
def test_generates(generate, compressed, trained, name):
    assert compressed[name].stat().st_size < trained[name].stat().st_size / 10
    assert bleu(generate(compressed[name]).stdout) > MODELS[name][0]


def test_interactive(run, corpus, plugin, compressed):
    output = run(
        "fairseq-interactive", corpus, "--user-dir", plugin, "--cpu", "--remove-bpe", "--path", compressed["lite"],
        "--source-lang", "de", "--target-lang", "en", stdin="w1 w2 w4 w5\n",
    ).stdout  # fmt: skip
    (hypothesis,) = (line.split("\t")[2] for line in output.splitlines() if line.startswith("H-"))
    assert set(hypothesis.split()) <= {f"t{n}" for n in range(12)}


def test_validate(run, corpus, plugin, compressed):
    process = run(
        "fairseq-validate", corpus, "--user-dir", plugin, "--task", "translation", "--cpu",
        "--max-tokens", 2000, "--path", compressed["stock"],
    )  # fmt: skip
    assert float(re.search(r"\| loss (\S+)", process.stdout + process.stderr)[1]) < MODELS["stock"][1]


@pytest.mark.parametrize("architecture, name", [("lite_transformer_tiny", "lite"), ("transformer_tiny", "stock")])
@pytest.mark.parametrize("options", ["--finetune-from-model", "--task finetune_translation --pretrained"])
def test_finetuning_starts_from_the_unpacked_weights(
    train, load, run, compressed, architecture, name, options, tmp_path
):
    train(
        tmp_path, "--arch", architecture, "--share-all-embeddings", *options.split(), compressed[name],
        "--max-update", 1, "--lr", 0,
    )  # fmt: skip
    run("fairseq-lite", "decompress", compressed[name], tmp_path / "plain.pt")
    assert_same_weights(load(tmp_path / "plain.pt")["model"], load(tmp_path / "checkpoint_last.pt")["model"])


@pytest.fixture
def stock_language_model(train_language_model, tmp_path):
    sizes = "--decoder-embed-dim 64 --decoder-input-dim 64 --decoder-output-dim 64 --decoder-ffn-embed-dim 64"
    sizes += " --decoder-layers 2 --decoder-attention-heads 2"
    train_language_model(tmp_path, "--arch", "transformer_lm", *sizes.split(), "--max-update", 100)
    return tmp_path / "checkpoint_last.pt"


@pytest.mark.parametrize("trained", ["language_model", "stock_language_model"])
def test_language_model(run, compress, text_corpus, plugin, trained, request):
    checkpoint = request.getfixturevalue(trained)
    process = run(
        "fairseq-eval-lm", text_corpus, "--user-dir", plugin, "--cpu", "--max-tokens", 2000,
        "--sample-break-mode", "eos", "--path", compress(checkpoint, "--method", "linear"),
    )  # fmt: skip
    assert perplexity(process) < 3


def test_is_a_model_for_other_programs(compressed, corpus):
    from fairseq.models.transformer import TransformerModel

    hub = TransformerModel.from_pretrained(compressed["stock"].parent, "small.pt", data_name_or_path=str(corpus))
    assert set(hub.translate("w1 w2 w4 w5").replace("t@@ ", "t").split()) <= {f"t{n}" for n in range(12)}


@pytest.mark.parametrize("name", MODELS)
def test_decompressed_it_is_the_same_model(run, generate, load, compressed, trained, name, tmp_path):
    plain = tmp_path / "plain.pt"
    run("fairseq-lite", "decompress", compressed[name], plain)
    assert translations(generate(plain)) == translations(generate(compressed[name]))
    before, after = load(trained[name])["model"], load(plain)["model"]
    assert list(before) == list(after)
    for weight in learnt(before):
        assert (after[weight] - before[weight]).norm() <= 0.05 * before[weight].norm() + 1e-3, weight


def test_averages_and_mult_adds_of_compressed_checkpoints(run, compressed, generate, tmp_path):
    run("fairseq-lite", "average", compressed["lite"], compressed["lite"], tmp_path / "average.pt")
    assert translations(generate(tmp_path / "average.pt")) == translations(generate(compressed["lite"]))
    plain, small = (
        json.loads(run("fairseq-lite", "mult-adds", path, "--json").stdout)["mult_adds"]
        for path in (tmp_path / "average.pt", compressed["lite"])
    )
    assert plain == small


def test_the_same_command_writes_the_same_bytes(compress, trained):
    once, again = (compress(trained["stock"], "--bits", 4, "--prune-weights", 0.3).read_bytes() for _ in range(2))
    assert once == again


def test_masked_and_pruned_models(compress, load, run, trained, generate, tmp_path):
    """Rows of zeros, as pruning of neurons leaves them, and single zeros."""
    checkpoint = load(trained["stock"])
    mask = torch.arange(64) % 4 == 0
    for side in ("encoder", "decoder"):
        for key in ("weight", "bias"):
            checkpoint["model"][f"{side}.layers.1.fc1.{key}"][mask] = 0
    torch.save(checkpoint, tmp_path / "masked.pt")
    dense, small = (compress(tmp_path / "masked.pt", "--bits", 8, *o) for o in ([], ["--prune-weights", 0.3]))
    assert small.stat().st_size < 0.9 * dense.stat().st_size
    run("fairseq-lite", "decompress", small, tmp_path / "plain.pt")
    plain = load(tmp_path / "plain.pt")["model"]
    for side in ("encoder", "decoder"):
        assert torch.equal(plain[f"{side}.layers.1.fc1.weight"].any(1), ~mask)
    matrices = {tensor.data_ptr(): tensor for tensor in plain.values() if tensor.numel() >= 1024}.values()
    zeros = sum(int(tensor.eq(0).sum()) for tensor in matrices)
    assert zeros == pytest.approx(0.3 * sum(tensor.numel() for tensor in matrices), rel=0.01)
    assert "BLEU" in generate(small).stdout


def test_kept_tensors(compress, trained, load, run, tmp_path):
    small = compress(trained["lite"], "--bits", 2, "--keep", "embed_tokens", "--keep", "norm")
    run("fairseq-lite", "decompress", small, tmp_path / "plain.pt")
    before, after = (load(path)["model"] for path in (trained["lite"], tmp_path / "plain.pt"))
    same = {name for name in learnt(before) if torch.equal(before[name], after[name])}
    assert {name for name in before if "embed_tokens" in name or "norm" in name} <= same
    assert "encoder.layers.0.fc1.weight" not in same


def test_sizes(run, trained, compressed, corpus):
    dictionary = corpus / "dict.de.txt"
    paths = [trained["lite"], compressed["lite"]]
    plain, small = json.loads(run("fairseq-lite", "size", *paths, "--dict", dictionary, "--json").stdout)
    for path, size in zip(paths, (plain, small)):
        assert size["total"] == path.stat().st_size + dictionary.stat().st_size
    assert plain["ratio"] == 1 and small["ratio"] == plain["weights"] / small["weights"]
    assert plain["bytes"]["convolution"] > 4 * small["bytes"]["convolution"] > 0
    assert "times smaller" in run("fairseq-lite", "size", *paths).stdout


@pytest.mark.parametrize("fault", ["flipped", "truncated"])
def test_damaged_files(generate, train, compressed, tmp_path, fault):
    data = bytearray(compressed["lite"].read_bytes())
    data[len(data) // 2] ^= 1
    path = tmp_path / f"{fault}.pt"
    path.write_bytes(data if fault == "flipped" else data[:-1000])
    assert_one_line(generate(path, succeeds=False), str(path), "damaged" if fault == "flipped" else "truncated")
    process = train(tmp_path / "model", "--finetune-from-model", path, "--max-update", 1, succeeds=False)
    assert_one_line(process, str(path))


@pytest.mark.parametrize(
    "options, parts",
    [
        ("--bits 9", ["--bits 9: must be 2 to 8"]),
        ("--prune-weights 1.5", ["--prune-weights 1.5: must be at least 0 and less than 1"]),
        ("--keep (", ["--keep (: not a regular expression"]),
        ("--sparsity 1", ["--sparsity 1: unknown argument"]),
    ],
)
def test_mistakes(run, trained, tmp_path, options, parts):
    output = tmp_path / "small.pt"
    process = run("fairseq-lite", "compress", trained["lite"], output, *options.split(), succeeds=False)
    assert_one_line(process, *parts)
    assert not output.exists()


def test_mistaken_paths(run, trained, tmp_path):
    for command in ("compress", "decompress"):
        process = run("fairseq-lite", command, trained["lite"], trained["lite"], succeeds=False)
        assert_one_line(process, "is an input too")
        process = run("fairseq-lite", command, tmp_path / "none.pt", tmp_path / "out.pt", succeeds=False)
        assert_one_line(process, "none.pt: no such file")
    assert_one_line(run("fairseq-lite", "size", tmp_path / "none.pt", succeeds=False), "none.pt: no such file")
