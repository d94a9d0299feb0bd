"""Models, tasks and criterions of a command line, on dictionaries of a few words and without data."""

from typing import Any, NamedTuple

import torch
from fairseq import options
from fairseq.models import build_model
from fairseq.tasks import setup_task

PAD, EOS = 1, 2
WORDS = 20
NO_DROPOUT = "--dropout 0 --attention-dropout 0"
TRANSLATION = "--task translation -s de -t en"
SMALL_LM = "--decoder-embed-dim 16 --decoder-input-dim 16 --decoder-output-dim 16 --decoder-ffn-embed-dim 16"
SMALL_LM += " --decoder-layers 1 --decoder-attention-heads 2"
LM = f"--task language_modeling --tokens-per-sample 12 --arch transformer_lm {SMALL_LM}"
ROBERTA = (
    "--arch roberta --encoder-layers 1 --encoder-embed-dim 16 --encoder-ffn-embed-dim 16 --encoder-attention-heads 2"
)
# What --criterion trains, without dropout.
TRAINED = {
    "label_smoothed_cross_entropy": f"{TRANSLATION} --arch transformer_tiny --label-smoothing 0.1",
    "cross_entropy": LM,
    "adaptive_loss": f"{LM} --adaptive-softmax-cutoff 7,15 --ddp-backend legacy_ddp",
    "masked_lm": f"--task masked_lm --max-positions 12 {ROBERTA}",
    "sentence_prediction": f"--task sentence_prediction --num-classes 3 --max-positions 12 {ROBERTA}",
}


def write_dictionaries(folder, words=WORDS):
    """Of all the tasks above."""
    for name in ("dict.txt", "dict.de.txt", "dict.en.txt", "input0/dict.txt", "label/dict.txt"):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        count = 3 if "label" in name else words
        path.write_text("".join(f"w{number} 1\n" for number in range(count)))
    return folder


class Training(NamedTuple):
    args: Any
    task: Any
    model: Any
    criterion: Any

    def save(self, path):
        """Write the checkpoint that fairseq-train would; returns the path."""
        history = [{"criterion_name": "", "optimizer_name": "", "lr_scheduler_state": {}, "num_updates": 0}]
        extra = {"train_iterator": {"epoch": 1, "iterations_in_epoch": 0}}
        checkpoint = {"cfg": {"model": self.args}, "model": self.model.state_dict(), "optimizer_history": history}
        torch.save({**checkpoint, "args": None, "extra_state": extra, "task_state": {}}, path)
        return str(path)


def prepare(data, criterion, arguments, seed=1, dropout=NO_DROPOUT):
    """What fairseq-train makes of a command line; the model's random weights tell its words apart."""
    given = [str(data), *dropout.split(), "--criterion", criterion, *arguments.split()]
    args = options.parse_args_and_arch(options.get_training_parser(), given)
    task = setup_task(args)
    torch.manual_seed(seed)
    model = task.build_model(args) if "sentence" in criterion else build_model(args, task)
    for parameter in model.parameters():
        if parameter.dim() > 1:
            torch.nn.init.normal_(parameter, std=0.3)
    return Training(args, task, model.train(), task.build_criterion(args))


def padded(lengths, words):
    rows = [torch.randint(4, words, (length,)) for length in lengths]
    return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=PAD)


def batch(criterion, model):
    """Two sentences, the second one shorter."""
    words = WORDS + 4
    if criterion == "label_smoothed_cross_entropy":
        source, target = padded([5, 3], words), padded([6, 2], words)
        net_input = {"src_tokens": source, "src_lengths": source.ne(PAD).sum(1), "prev_output_tokens": target.clone()}
    elif criterion == "sentence_prediction":
        net_input, target = {"src_tokens": padded([5, 3], words)}, torch.tensor([[2], [1]])
    else:
        tokens = padded([6, 4], words)
        target = padded([6, 4], words)
        if criterion == "masked_lm":
            target[:, [0, 2, 3]] = PAD
        net_input = {"src_tokens": tokens, "src_lengths": tokens.ne(PAD).sum(1)}
    return {"net_input": net_input, "target": target, "ntokens": int(target.ne(PAD).sum()), "nsentences": 2}
