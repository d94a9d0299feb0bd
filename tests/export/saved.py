"""Checkpoints of random models, as fairseq-train writes them, beside their dictionaries."""

import random
import string

import torch
from fairseq import options, tasks
from fairseq.dataclass.utils import convert_namespace_to_omegaconf
from fairseq.models import build_model
from omegaconf import OmegaConf


def words(count, seed=0):
    rng = random.Random(seed)
    found = sorted({"".join(rng.choices(string.ascii_lowercase, k=3)) for _ in range(2 * count)})
    rng.shuffle(found)
    return found[:count]


def write_dictionary(path, pieces):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{piece} 1\n" for piece in pieces), encoding="utf-8")


def save_checkpoint(path, data, task, arguments, head=None, train=None):
    """Build the task and the model that fairseq-train would, write the checkpoint and return the model.

    Args:
        data: folder with the dictionaries
        head: number of classes of a classification head
        train: what trains the model, which otherwise has random weights with large differences
    """
    arguments = [str(data), *arguments.split()]
    parser = options.get_training_parser(task)
    cfg = convert_namespace_to_omegaconf(options.parse_args_and_arch(parser, arguments))
    model = build_model(cfg.model, tasks.setup_task(cfg.task))
    if head is not None:
        model.register_classification_head("sentence_classification_head", num_classes=head)
    (train or spread_weights)(model)
    state = {
        "args": None,
        "cfg": OmegaConf.to_container(cfg, resolve=True, enum_to_str=True),
        "model": model.state_dict(),
        "optimizer_history": [{"criterion_name": "", "optimizer_name": "", "lr_scheduler_state": {}, "num_updates": 0}],
        "extra_state": {"train_iterator": {"epoch": 1, "iterations_in_epoch": 0}},
        "task_state": {},
    }
    torch.save(state, path)
    return model.eval()


def spread_weights(model):
    for parameter in model.parameters():
        if parameter.dim() > 1:
            torch.nn.init.normal_(parameter, std=0.3)


def memorise(model, pairs, updates):
    """Train a translation model on pairs of ids without ends, all in each update."""
    eos, pad = 2, 1

    def padded(rows):
        return torch.nn.utils.rnn.pad_sequence([torch.tensor(row) for row in rows], True, pad)

    source = padded([[*ids, eos] for ids, _ in pairs])
    before, after = padded([[eos, *ids] for _, ids in pairs]), padded([[*ids, eos] for _, ids in pairs])
    lengths = source.ne(pad).sum(1)
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    for _ in range(updates):
        logits = model(source, lengths, before)[0]
        loss = torch.nn.functional.cross_entropy(logits.transpose(1, 2), after, ignore_index=pad)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return float(loss.detach())
