"""Data-parallel training."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

# fairseq's pytorch_ddp wants a GPU.
OPTIONS = "--max-update 5 --max-tokens 200 --dropout 0 --share-all-embeddings --ddp-backend legacy_ddp".split()
FROZEN = "--arch t2r_transformer_tiny --task finetune_translation --train-only attention --weight-decay 0.1"
PRUNED = "--criterion cross_entropy_with_pruning --pruning-target 0.5 --pruning-end 4 --pruning-steps 2"
DISTILLED = (
    "--criterion label_smoothed_cross_entropy_with_distillation --teacher {teacher} --distillation-top-k 6"
    " --encoder-embed-dim 32 --distillation-layers 0:1"
)


def train_in_two(train, folder, options):
    """Two processes that meet once an update."""
    meeting = folder.with_suffix(".meeting")
    # one that is over would keep the next from beginning
    meeting.unlink(missing_ok=True)
    world = [
        "--distributed-world-size", 2, "--distributed-backend", "gloo", "--distributed-no-spawn",
        "--distributed-init-method", f"file://{meeting}",
    ]  # fmt: skip
    with ThreadPoolExecutor(max_workers=2) as pool:
        processes = [pool.submit(train, folder, *options, *world, "--distributed-rank", rank) for rank in (0, 1)]
    for process in processes:
        process.result()


@pytest.mark.parametrize("options", ["", FROZEN, PRUNED, DISTILLED], ids=["lite", "frozen", "pruned", "distilled"])
def test_two_processes_train_the_model_of_one(train, load, transformer, tmp_path, options):
    resumed, options = not options, [*OPTIONS, *options.format(teacher=transformer).split()]
    if resumed:
        train_in_two(train, tmp_path / "two", [*options, "--max-update", 3])
    train_in_two(train, tmp_path / "two", options)
    train(tmp_path / "one", *options, "--update-freq", 2)

    one, two = (load(tmp_path / name / "checkpoint_last.pt")["model"] for name in ("one", "two"))
    assert one.keys() == two.keys()
    for name in one:
        if name.endswith("._float_tensor"):
            continue  # fairseq 0.12.2 saves it uninitialised
        torch.testing.assert_close(one[name], two[name], rtol=1e-4, atol=1e-5, msg=name)
        assert torch.equal(one[name] == 0, two[name] == 0), f"{name}: not the same neurons are pruned"
