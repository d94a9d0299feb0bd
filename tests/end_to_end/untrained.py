"""Untrained models of every family on a corpus of a few sentences, run in this process and by hand."""

import copy
import random

import torch
from fairseq import options, tasks
from fairseq.data import Dictionary, data_utils
from fairseq.dataclass.utils import convert_namespace_to_omegaconf
from fairseq_cli import preprocess
from omegaconf import OmegaConf

from fairseq_lite.checkpoints import load_model, read_checkpoint, write_checkpoint
from fairseq_lite.cli import main

SENTENCES = 6


def binarise(folder):
    """Write a parallel corpus to folder/mt and one of its sides, for language models, to folder/lm."""
    rng = random.Random(3)
    for split in ("train", "test"):
        for side in ("de", "en"):
            lines = [" ".join(f"w{rng.randrange(20)}" for _ in range(rng.randint(3, 9))) for _ in range(SENTENCES)]
            (folder / f"{split}.{side}").write_text("\n".join(lines) + "\n")
    parser = options.get_preprocessing_parser()
    files = ["--trainpref", f"{folder}/train", "--testpref", f"{folder}/test", "--destdir", f"{folder}/mt"]
    preprocess.main(parser.parse_args(["-s", "de", "-t", "en", "--joined-dictionary", *files]))
    files = ["--trainpref", f"{folder}/train.de", "--testpref", f"{folder}/test.de", "--destdir", f"{folder}/lm"]
    preprocess.main(parser.parse_args(["--only-source", *files]))


def write_untrained(folder, arch, text, paths):
    """Write checkpoints of a model with other random weights each; no two tokens are equally likely."""
    task = "language_modeling" if "_lm" in arch else "translation"
    binary = str(folder / ("lm" if "_lm" in arch else "mt"))
    given = [binary, "--task", task, "--arch", arch, *text.split(), "--max-tokens", "100"]
    cfg = convert_namespace_to_omegaconf(options.parse_args_and_arch(options.get_training_parser(task), given))
    task = tasks.setup_task(cfg.task)
    history = [{"criterion_name": "", "optimizer_name": "", "lr_scheduler_state": {}, "num_updates": 0}]
    extra = {"train_iterator": {"epoch": 1, "iterations_in_epoch": 0}}
    torch.manual_seed(5)
    for path in paths:
        model = task.build_model(cfg.model)
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.data *= 2
        checkpoint = {"cfg": cfg, "model": model.state_dict(), "optimizer_history": history, "extra_state": extra}
        write_checkpoint({**checkpoint, "args": None, "task_state": {}}, path)


def shrink(path):
    """Shrink a checkpoint, of which every third neuron is zeroed first; returns the path."""
    checkpoint = read_checkpoint(path)
    for name, tensor in checkpoint["model"].items():
        if ".fc1." in name:
            tensor[::3] = 0
    write_checkpoint(checkpoint, path)
    assert main(["shrink", path, f"{path}.shrunk"]) == 0
    return f"{path}.shrunk"


_COMPOSED = {}


def configured(parser, given):
    """The configuration of a command line, which is run in this process.

    Hydra's composition, which takes longest, is done once for each data set. Data is read in this process too: torch
    waits ten seconds for a process that it forked from one with as many threads as tests have.
    """
    args = options.parse_args_and_arch(parser, [*map(str, given), "--num-workers", "0"])
    key = (args.task, hasattr(args, "softmax_batch"))
    if key not in _COMPOSED:
        _COMPOSED[key] = convert_namespace_to_omegaconf(args)
        OmegaConf.set_struct(_COMPOSED[key], False)
    cfg = copy.deepcopy(_COMPOSED[key])
    for group in (cfg.generation, cfg.dataset, cfg.common, cfg.common_eval, cfg.eval_lm, cfg.task):
        for name in group:
            if hasattr(args, name):
                group[name] = getattr(args, name)
    return cfg


class ByHand:
    """Models that see a whole sentence at once: no batch, no search, no state of earlier steps."""

    def __init__(self, folder, name, *paths):
        self.models = [load_model(path) for path in paths]
        self.translates = "lm" not in name
        binary = folder / ("mt" if self.translates else "lm")
        self.words = Dictionary.load(str(binary / ("dict.en.txt" if self.translates else "dict.txt")))
        sides = ("test.de-en.de", "test.de-en.en") if self.translates else ("test", "test")
        self.sources, self.targets = (data_utils.load_indexed_dataset(str(binary / side), self.words) for side in sides)

    @torch.no_grad()
    def next_words(self, number, symbols):
        """log2 of the models' mean probability of each word after each of the symbols: [T, V]."""
        inputs = (torch.tensor([symbols]),)
        if self.translates:
            source = self.sources[number].long().unsqueeze(0)
            inputs = (source, torch.tensor([source.size(1)]), *inputs)
        shares = [model.get_normalized_probs(model(*inputs), log_probs=False)[0] for model in self.models]
        return torch.stack(shares).mean(0).log2()

    def score(self, number, symbols):
        """log2 of the probability of each symbol but the first: [T - 1]."""
        rows = self.next_words(number, symbols[:-1])
        return rows.gather(1, torch.tensor(symbols[1:]).unsqueeze(1)).squeeze(1)

    def greedy(self, number, prefix, longest, blocked):
        """The words that greedy search finds; `blocked` names those that may not follow some words."""
        symbols = [self.words.eos()]
        while len(symbols) <= longest:
            if len(symbols) <= len(prefix):
                symbols.append(prefix[len(symbols) - 1])
                continue
            scores = self.next_words(number, symbols)[-1]
            scores[[self.words.pad(), *blocked(symbols[1:])]] = -torch.inf
            if len(symbols) == 1:
                scores[self.words.eos()] = -torch.inf
            if scores.argmax() == self.words.eos():
                break
            symbols.append(int(scores.argmax()))
        return self.words.string(symbols[1:])
