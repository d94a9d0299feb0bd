"""fairseq's ways of generating and scoring, for each family of models: each output equals that of another path.

The models have random weights, for equality needs no training, and run in this process.
"""

import contextlib
import copy
import functools
import io
import random
import re
from collections import defaultdict

import pytest
import torch
from fairseq import options, tasks
from fairseq.dataclass.utils import convert_namespace_to_omegaconf
from fairseq_cli import generate, preprocess
from omegaconf import OmegaConf

from fairseq_lite.checkpoints import load_model, read_checkpoint, write_checkpoint
from fairseq_lite.cli import main

TINY = "--dropout 0 --encoder-layers 2 --decoder-layers 2 --encoder-embed-dim 16 --decoder-embed-dim 16"
TINY += " --encoder-attention-heads 2 --decoder-attention-heads 2"
TINY_LM = "--dropout 0 --decoder-layers 2 --decoder-embed-dim 16 --decoder-attention-heads 2"
KERNELS = " --encoder-kernel-sizes 3,5 --decoder-kernel-sizes 3,5 --encoder-conv-heads 2 --decoder-conv-heads 2"
TRANSLATORS = {
    "lite": ("lite_transformer", TINY + KERNELS),
    "t2r": ("t2r_transformer", TINY),
    "shrunk": ("transformer", TINY + " --encoder-ffn-embed-dim 24 --decoder-ffn-embed-dim 24"),
}
LANGUAGE_MODELS = {
    "lite_lm": ("lite_transformer_lm", TINY_LM + " --decoder-kernel-sizes 3,5 --decoder-conv-heads 2"),
}
CLOSE = dict(rel=1e-4, abs=1e-4)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A folder with a binarised parallel corpus of 12 sentences, which serves language models too."""
    raw, folder = tmp_path_factory.mktemp("raw"), tmp_path_factory.mktemp("data")
    rng = random.Random(3)
    for split in ("train", "test"):
        for side in ("de", "en"):
            lines = [" ".join(f"w{rng.randrange(20)}" for _ in range(rng.randint(2, 9))) for _ in range(12)]
            (raw / f"{split}.{side}").write_text("\n".join(lines) + "\n")
    parser = options.get_preprocessing_parser()
    files = ["--trainpref", f"{raw}/train", "--testpref", f"{raw}/test", "--destdir", f"{folder}/mt"]
    preprocess.main(parser.parse_args(["-s", "de", "-t", "en", "--joined-dictionary", *files]))
    files = ["--trainpref", f"{raw}/train.de", "--testpref", f"{raw}/test.de", "--destdir", f"{folder}/lm"]
    preprocess.main(parser.parse_args(["--only-source", *files]))
    return folder


def untrained(folder, arch, text, path):
    task = "language_modeling" if "_lm" in arch else "translation"
    binary = str(folder / ("lm" if "_lm" in arch else "mt"))
    given = [binary, "--task", task, "--arch", arch, *text.split(), "--max-tokens", "100"]
    cfg = convert_namespace_to_omegaconf(options.parse_args_and_arch(options.get_training_parser(task), given))
    torch.manual_seed(5)
    model = tasks.setup_task(cfg.task).build_model(cfg.model)
    for parameter in model.parameters():
        if parameter.dim() > 1:
            parameter.data *= 2  # no two tokens equally likely
    history = [{"criterion_name": "", "optimizer_name": "", "lr_scheduler_state": {}, "num_updates": 0}]
    extra = {"train_iterator": {"epoch": 1, "iterations_in_epoch": 0}}
    checkpoint = {"cfg": cfg, "model": model.state_dict(), "optimizer_history": history, "extra_state": extra}
    write_checkpoint({**checkpoint, "args": None, "task_state": {}}, str(path))


def shrink(path):
    checkpoint = read_checkpoint(str(path))
    for name, tensor in checkpoint["model"].items():
        if ".fc1." in name:
            tensor[::3] = 0
    write_checkpoint(checkpoint, str(path))
    assert main(["shrink", str(path), f"{path}.shrunk"]) == 0
    return f"{path}.shrunk"


@pytest.fixture(scope="module")
def models(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    paths = {}
    for name, (arch, text) in {**TRANSLATORS, **LANGUAGE_MODELS}.items():
        paths[name] = str(folder / f"{name}.pt")
        untrained(data, arch, text, paths[name])
    paths["shrunk"] = shrink(paths["shrunk"])
    return paths


def configured(parser, given):
    """The configuration of a command line. Hydra's composition, which takes longest, is done once for each command."""
    args = options.parse_args_and_arch(parser, [*map(str, given)])
    cfg = copy.deepcopy(composed(given[0], args))
    for group in (cfg.generation, cfg.dataset, cfg.common, cfg.common_eval, cfg.task):
        for name in group:
            if hasattr(args, name):
                group[name] = getattr(args, name)
    return cfg


_COMPOSED = {}


def composed(command, args):
    if command not in _COMPOSED:
        _COMPOSED[command] = convert_namespace_to_omegaconf(args)
        OmegaConf.set_struct(_COMPOSED[command], False)
    return _COMPOSED[command]


@pytest.fixture(scope="module")
def lines(models, data):
    """Runs fairseq-generate; returns the fields of its lines by kind (H, P, A) and sentence, best hypothesis first."""

    @functools.cache
    def run(name, text="", path=None, repetition=0):
        kind, task = ("lm", "language_modeling") if "lm" in name else ("mt", "translation")
        given = [
            data / kind,
            "--task",
            task,
            "--path",
            path or models[name],
            "--cpu",
            "--max-len-a",
            0,
            "--max-len-b",
            9,
        ]
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            generate.main(
                configured(options.get_generation_parser(), [*given, *f"--beam 4 --batch-size 5 {text}".split()])
            )
        found = defaultdict(lambda: defaultdict(list))
        for kind, number, rest in re.findall(r"^([HPA])-(\d+)\t(.*)$", printed.getvalue(), re.MULTILINE):
            found[kind][int(number)].append(rest.split("\t"))
        return found

    return run


def hypotheses(found):
    return {number: [fields[1] for fields in rows] for number, rows in found["H"].items()}


def assert_same(first, second):
    assert hypotheses(first) == hypotheses(second) and first["H"]
    for number, rows in first["H"].items():
        scores = [float(fields[0]) for fields in second["H"][number]]
        assert [float(fields[0]) for fields in rows] == pytest.approx(scores, **CLOSE)


def best_alone(lines, name, path):
    best = hypotheses(lines(name))
    assert best == {number: texts[:1] for number, texts in hypotheses(lines(name, "--nbest 4")).items()}


def ensemble(lines, name, path):
    assert_same(lines(name, path=f"{path}:{path}"), lines(name))


def batched(lines, name, path):
    assert_same(lines(name, "--batch-size 1"), lines(name, "--batch-size 12"))


def greedy_sampling(lines, name, path):
    sampled = hypotheses(lines(name, "--sampling --sampling-topk 1 --beam 1"))
    assert sampled == hypotheses(lines(name, "--beam 1"))


def seeded_sampling(lines, name, path):
    assert_same(
        lines(name, "--sampling --nbest 4 --seed 7"), lines(name, "--sampling --nbest 4 --seed 7", repetition=1)
    )
    assert hypotheses(lines(name, "--sampling --nbest 4 --seed 8")) != hypotheses(
        lines(name, "--sampling --nbest 4 --seed 7")
    )


def scores_are_sums(lines, name, path):
    found = lines(name, "--nbest 2 --lenpen 0")
    for number, rows in found["H"].items():
        sums = [sum(map(float, fields[0].split())) for fields in found["P"][number]]
        # fairseq prints scores to base 2
        assert [float(fields[0]) for fields in rows] == pytest.approx(sums, abs=2e-3)


def prefix(lines, name, path):
    references = hypotheses(lines(name, "--score-reference"))
    for number, (text,) in hypotheses(lines(name, "--prefix-size 2")).items():
        assert text.split()[:2] == references[number][0].split()[:2]


@torch.no_grad()
def score_of_reference(lines, name, path):
    found, model = lines(name, "--score-reference"), load_model(path)
    task = tasks.setup_task(read_checkpoint(path)["cfg"].task)
    task.load_dataset("test")
    for number, ((score, _),) in found["H"].items():
        sample = task.dataset("test").collater([task.dataset("test")[number]])
        log_probabilities = model.get_normalized_probs(model(**sample["net_input"]), log_probs=True)
        mean = log_probabilities.gather(2, sample["target"].unsqueeze(-1)).mean() / torch.log(torch.tensor(2.0))
        assert float(score) == pytest.approx(mean.item(), **CLOSE)


def hard_alignment(lines, name, path):
    soft, hard = lines(name, "--print-alignment soft"), lines(name, "--print-alignment hard")
    for number, ((rows,),) in soft["A"].items():
        weights = [list(map(float, row.split(","))) for row in rows.split()]
        for pair in hard["A"][number][0][0].split():
            source, target = map(int, pair.split("-"))
            # a word is aligned with words, not with the end of the sentence
            assert weights[target][source] == pytest.approx(max(weights[target][:-1]), abs=2e-3)


COMMON = [best_alone, ensemble, batched, greedy_sampling]
OF_A_TRANSLATOR = [seeded_sampling, scores_are_sums, prefix, score_of_reference, hard_alignment]


@pytest.mark.parametrize("variant", COMMON)
@pytest.mark.parametrize("name", [*TRANSLATORS, *LANGUAGE_MODELS])
def test_every_family(name, variant, lines, models):
    variant(lines, name, models[name])


@pytest.mark.parametrize("variant", OF_A_TRANSLATOR)
def test_translations(variant, lines, models):
    variant(lines, "lite", models["lite"])
