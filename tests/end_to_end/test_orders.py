"""Pruning, T2R and compression one after the other: the orders of docs/pruning.md."""

import pytest
from checks import assert_one_line

from fairseq_lite.checkpoints import load_model, read_checkpoint
from fairseq_lite.measure.mult_adds import count_mult_adds
from fairseq_lite.pruning.sparsity import sparsity_of

STOCK = "--arch transformer_tiny --share-all-embeddings".split()
PRUNE = "--pruning-target 0.5 --pruning-end 2 --pruning-steps 1 --pruning-importance magnitude --max-update 3".split()
WITH_PRUNING = "--criterion cross_entropy_with_pruning".split()
T2R = "--task finetune_translation --arch t2r_transformer_tiny --share-all-embeddings --lr 1e-3".split()
SIZES = [
    f"--{side}-{option}"
    for side in ("encoder", "decoder")
    for option in ("embed-dim=64", "ffn-embed-dim=64", "layers=2", "attention-heads=2")
] + ["--share-all-embeddings"]


@pytest.fixture(scope="module")
def workplace(train, run, tmp_path_factory):
    """A folder with a masked and a shrunk Transformer."""
    folder = tmp_path_factory.mktemp("orders")
    train(folder / "masked", *STOCK, *WITH_PRUNING, *PRUNE)
    run("fairseq-lite", "shrink", folder / "masked" / "checkpoint_last.pt", folder / "shrunk.pt")
    return folder


@pytest.fixture
def compress(run, generate, tmp_path):
    """Compresses a checkpoint and translates with the small file."""

    def compress(path):
        run("fairseq-lite", "compress", path, tmp_path / "small.pt", "--bits", 8)
        generate(tmp_path / "small.pt", "--gen-subset", "valid")
        return tmp_path / "small.pt"

    return compress


def sparsity(path):
    return sparsity_of(read_checkpoint(str(path)), str(path)).part()


def mult_adds(path):
    return count_mult_adds(load_model(str(path))).total


def test_masked_then_linear_with_the_masks_kept_then_shrunk_and_compressed(workplace, train, run, compress, tmp_path):
    masked = workplace / "masked" / "checkpoint_last.pt"
    keep = [*WITH_PRUNING, *"--pruning-target 0 --max-update 3".split()]
    train(tmp_path, *T2R, "--pretrained", masked, *keep)
    linear = tmp_path / "checkpoint_last.pt"
    assert sparsity(linear) == sparsity(masked) == pytest.approx(0.5, abs=0.01)
    run("fairseq-lite", "shrink", linear, tmp_path / "shrunk.pt")
    small = compress(tmp_path / "shrunk.pt")
    assert_one_line(run("fairseq-lite", "shrink", small, tmp_path / "x.pt", succeeds=False), "no neuron to remove")


def test_linear_then_pruned_shrunk_trained_for_the_quantiser_and_compressed(train, run, compress, tmp_path):
    train(tmp_path / "linear", "--arch", "t2r_transformer_tiny", "--share-all-embeddings", *WITH_PRUNING, *PRUNE)
    shrunk = tmp_path / "shrunk.pt"
    run("fairseq-lite", "shrink", tmp_path / "linear" / "checkpoint_last.pt", shrunk)
    train(
        tmp_path / "quantised", "--task", "finetune_translation", "--arch", "pruned_t2r_transformer", *SIZES,
        "--pruned-widths", shrunk, "--pretrained", shrunk, "--quantize-finetune", 8, "--max-update", 3,
    )  # fmt: skip
    compress(tmp_path / "quantised" / "checkpoint_last.pt")


def test_shrunk_then_linear(workplace, train, run, generate, tmp_path):
    shrunk, masked = workplace / "shrunk.pt", workplace / "masked" / "checkpoint_last.pt"
    linear = "--task finetune_translation --arch pruned_t2r_transformer --max-update 3".split()
    train(tmp_path, *linear, *SIZES, "--pruned-widths", shrunk, "--pretrained", shrunk)
    generate(tmp_path / "checkpoint_last.pt", "--gen-subset", "valid")
    assert mult_adds(tmp_path / "checkpoint_last.pt") < mult_adds(masked)


def test_shrunk_then_pruned_and_shrunk_again(workplace, train, run, generate, tmp_path):
    shrunk = workplace / "shrunk.pt"
    again = ["--arch", "pruned_transformer", *SIZES, "--pruned-widths", shrunk, "--finetune-from-model", shrunk]
    train(tmp_path, *again, *WITH_PRUNING, *PRUNE)
    run("fairseq-lite", "shrink", tmp_path / "checkpoint_last.pt", tmp_path / "twice.pt")
    generate(tmp_path / "twice.pt", "--gen-subset", "valid")
    assert mult_adds(tmp_path / "twice.pt") < mult_adds(shrunk)
    assert sparsity(tmp_path / "twice.pt") > sparsity(shrunk) + 0.1


def test_training_on_without_masks_says_that_neurons_come_back(workplace, train, tmp_path):
    masked = workplace / "masked" / "checkpoint_last.pt"
    process = train(tmp_path, *STOCK, "--finetune-from-model", masked, "--max-update", 2)
    warnings = [line for line in (process.stdout + process.stderr).splitlines() if "pruned neurons come back" in line]
    assert len(warnings) == 1 and "50.0% were zero before update 1" in warnings[0]
    assert "--pruning-target 0" in warnings[0]
    kept = train(tmp_path / "kept", *STOCK, *WITH_PRUNING, "--pruning-target", 0, "--max-update", 2,
                 "--finetune-from-model", masked)  # fmt: skip
    assert "come back" not in kept.stdout + kept.stderr
    assert sparsity(tmp_path / "kept" / "checkpoint_last.pt") == sparsity(masked)


def test_a_moving_average_is_masked_too(train, load, tmp_path):
    train(tmp_path, *STOCK, *WITH_PRUNING, *PRUNE, "--store-ema", "--ema-decay", 0.9)
    checkpoint = load(tmp_path / "checkpoint_last.pt")
    for name in ("encoder.layers.0.fc1.weight", "decoder.layers.1.encoder_attn.v_proj.weight"):
        zeros = [(state[name] == 0).all(dim=1) for state in (checkpoint["model"], checkpoint["extra_state"]["ema"])]
        assert zeros[0].any() and zeros[0].equal(zeros[1])


def test_a_model_that_cannot_be_shrunk_is_refused_before_it_trains(train, tmp_path):
    process = train(tmp_path, "--arch", "fconv_iwslt_de_en", *WITH_PRUNING, *PRUNE, succeeds=False)
    assert_one_line(process, "architecture 'fconv': cannot be pruned")
    assert not list(tmp_path.rglob("*.pt"))
