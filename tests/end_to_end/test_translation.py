"""A translation model's life under fairseq's commands."""

import json
import re
import shutil

import torch
from checks import assert_same_weights, bleu, learnt
from rouge_score.rouge_scorer import RougeScorer


def test_generate_has_learnt_the_toy_task(generate, model):
    output = generate(model / "checkpoint_last.pt", user_dir="fairseq_lite").stdout
    assert bleu(output) > 60
    assert "@@" not in "".join(line for line in output.splitlines() if line.startswith("D-"))


def test_generate_scores_by_rouge(generate, model):
    output = generate(model / "checkpoint_last.pt", "--scoring", "rouge", "--rouge-unstemmed").stdout
    references = dict(re.findall(r"^T-(\d+)\t(.*)$", output, re.MULTILINE))
    translations = dict(re.findall(r"^D-(\d+)\t\S+\t(.*)$", output, re.MULTILINE))
    library = RougeScorer(["rouge2"])
    scores = [library.score(references[number], translations[number])["rouge2"].fmeasure for number in references]
    assert f"ROUGE-2 = {100 * sum(scores) / len(scores):.2f} " in output and len(scores) == 50


def test_average_is_a_checkpoint_that_generates(run, generate, model, load, tmp_path):
    inputs = [next(model.glob("checkpoint_*_380.pt")), model / "checkpoint_last.pt"]
    average = tmp_path / "average.pt"
    single, both = (run("fairseq-lite", "average", *paths, average).stdout for paths in (inputs[:1], inputs))
    assert single == f"took the weights of {inputs[0]} into {average}\n"
    assert both == f"averaged 2 checkpoints ({inputs[0]} ... {inputs[1]}) into {average}\n"
    first, last, mean = (load(path)["model"] for path in (*inputs, average))
    for name in learnt(mean):
        torch.testing.assert_close(mean[name], (first[name] + last[name]) / 2)
    assert bleu(generate(average).stdout) > 60


def test_latency_of_two_checkpoints(run, model):
    checkpoints = [next(model.glob("checkpoint_*_380.pt")), model / "checkpoint_last.pt"]
    options = "--batch-sizes 1 2 --rounds 2 --threads 1 --src-len 5 --tgt-len 6 --json".split()
    measured = json.loads(run("fairseq-lite", "latency", *checkpoints, *options).stdout)
    assert measured["environment"].startswith("1 threads")
    rows = measured["latencies"]
    assert [(row["batch_size"], row["checkpoint"]) for row in rows] == [
        (size, str(path)) for size in (1, 2) for path in checkpoints
    ]
    assert [row["speed_up"] for row in rows[::2]] == [1, 1]


def test_interactive_translates_what_it_reads(run, corpus, model):
    output = run(
        "fairseq-interactive", corpus, "--user-dir", "fairseq_lite", "--cpu", "--remove-bpe",
        "--path", model / "checkpoint_last.pt", "--source-lang", "de", "--target-lang", "en",
        stdin="w1 w2 w4 w5\nw7 w8\n",
    ).stdout  # fmt: skip
    hypotheses = [line.split("\t")[2] for line in output.splitlines() if line.startswith("H-")]
    assert len(hypotheses) == 2
    assert set(" ".join(hypotheses).split()) <= {f"t{n}" for n in range(12)}


def test_validate_reports_a_low_loss(run, corpus, model):
    output = run(
        "fairseq-validate", corpus, "--user-dir", "fairseq_lite", "--task", "translation", "--cpu",
        "--max-tokens", 2000, "--path", model / "checkpoint_last.pt",
    )  # fmt: skip
    assert float(re.search(r"\| loss (\S+)", output.stdout + output.stderr)[1]) < 2


def in_epoch(checkpoint):
    return checkpoint["extra_state"]["train_iterator"]["epoch"]


def test_training_resumed_in_any_epoch_equals_an_uninterrupted_one(train, load, tmp_path):
    uninterrupted, resumed = tmp_path / "uninterrupted", tmp_path / "resumed"
    options = "--weight-dropout 0.1 --max-update 28 --save-interval-updates 12".split()
    train(uninterrupted, *options)
    (start,) = uninterrupted.glob("checkpoint_*_24.pt")
    assert in_epoch(load(start)) > 1
    resumed.mkdir()
    shutil.copy(start, resumed / "checkpoint_last.pt")
    train(resumed, *options)
    states = [load(folder / "checkpoint_last.pt") for folder in (uninterrupted, resumed)]
    assert_same_weights(*(state["model"] for state in states))


def test_finetuning_starts_from_the_given_weights(train, model, load, tmp_path):
    pretrained = model / "checkpoint_last.pt"
    train(
        tmp_path, "--finetune-from-model", pretrained, "--max-update", 1, "--lr", 0,
        "--share-all-embeddings", user_dir="fairseq_lite",
    )  # fmt: skip
    assert_same_weights(load(pretrained)["model"], load(tmp_path / "checkpoint_last.pt")["model"])


def test_dynamic_convolutions_of_unequal_branches_train(train, generate, tmp_path):
    train(
        tmp_path, "--max-update", 5, "--encoder-conv-type", "dynamic", "--decoder-conv-type", "dynamic",
        "--encoder-attention-dim", 16, "--decoder-attention-dim", 48, "--encoder-conv-heads", 4,
        "--encoder-kernel-sizes", "3,5", "--decoder-kernel-sizes", "5,3", "--encoder-conv-glu",
        "--no-decoder-conv-glu", "--weight-dropout", 0.1, "--no-weight-softmax", "--ffn-init-ratio", 2,
    )  # fmt: skip
    assert "BLEU" in generate(tmp_path / "checkpoint_last.pt").stdout
