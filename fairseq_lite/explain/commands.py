"""Mistakes in the options and the data of fairseq's commands, by what fairseq says or where it fails."""

from __future__ import annotations

import re
from typing import Callable, Optional, Tuple

from fairseq.models import ARCH_MODEL_REGISTRY

from fairseq_lite.explain.checkpoints import misfit, unknown_architecture, unreadable_checkpoint
from fairseq_lite.explain.traces import first_line, text, variables

Explanation = Callable[[re.Match, BaseException], str]


def _file_in(error: BaseException) -> str:
    """The checkpoint that was being loaded into a model."""
    generating, training = (
        variables(error, "load_model_ensemble_and_task"),
        variables(error, "load_checkpoint", "fairseq.trainer"),
    )
    return str(generating.get("filename") or training.get("filename") or "the checkpoint")


def _too_long(match: re.Match, error: BaseException) -> str:
    return (
        f"--max-source-positions/--max-target-positions: sample {match[1]} has {match[2]} tokens and the "
        f"model takes {match[3]}; shorten it or pass --skip-invalid-size-inputs-valid-test"
    )


def _other_training(match: re.Match, error: BaseException) -> str:
    return (
        f"{_file_in(error)}: was trained with {match[2]} and this command has {match[3]}; pass --reset-optimizer, "
        "or --finetune-from-model and another --save-dir"
    )


def _no_data(match: re.Match, error: BaseException) -> str:
    return f"{match[2]}: no {match[1]} data there; give the folder that fairseq-preprocess made, and its languages"


def _missing_file(match: re.Match, error: BaseException) -> str:
    return f"{match[1] or '--path'} {unreadable_checkpoint(match[2], error)}"


def _unknown_architecture(match: re.Match, error: BaseException) -> str:
    return unknown_architecture(_file_in(error), match[1])


def _misfit(match: re.Match, error: BaseException) -> str:
    return misfit(_file_in(error), match[1])


def _in_worker(match: re.Match, error: BaseException) -> str:
    return match[1]


def _fixed(line: str) -> Explanation:
    return lambda match, error: line


# What fairseq says, and how it is explained.
_SAYINGS: Tuple[Tuple[str, Explanation], ...] = (
    (r"Size of sample #(\S+) is invalid \(=(.+?)\) since max_positions=(.+?), skip", _too_long),
    (
        r"--share-all-embeddings requires a joined dictionary",
        _fixed(
            "--share-all-embeddings: the source and the target dictionary differ; "
            "binarise with fairseq-preprocess --joined-dictionary"
        ),
    ),
    (r"()Model file not found: (.+)", _missing_file),
    (r"(--finetune-from-model) (.+) does not exist", _missing_file),
    (r"(?s)Could not infer model type from .* Requested model type: (\S+)", _unknown_architecture),
    (r"(?s)Error\(s\) in loading state_dict for \w+:(.+)", _misfit),
    (r"(Criterion|Optimizer) does not match; .*?\. (\w+) vs (\w+)", _other_training),
    (r"Dataset not found: (\S+) \((.+?)\)", _no_data),
    (
        r"Could not infer language pair",
        _fixed("--source-lang/--target-lang: cannot be read off the names of the data's files; give both"),
    ),
    (
        r"gradients are Nan/Inf|Minimum loss scale reached|gradients are inconsistent",
        _fixed("training diverged, its gradients are not finite; take a smaller --lr, a warm-up or --clip-norm"),
    ),
    (
        r"'NoneType' object has no attribute 'xla_device'",
        _fixed("--bf16/--tpu: runs on a TPU, by torch_xla, which is missing; leave it out, or take --fp16 on a GPU"),
    ),
    (r"AdaptiveLoss is not compatible", _fixed("--criterion adaptive_loss: needs --ddp-backend legacy_ddp")),
    (
        r"'\w+' object has no attribute 'supported_targets'",
        lambda match, error: f"{_file_in(error)}: is no language model; give one of --task language_modeling",
    ),
    (r"fairseq_lite\.errors\.UserError: (.+)", _in_worker),
)


def refused_by_fairseq(error: BaseException) -> Optional[str]:
    """Explain what fairseq refuses in words: those of the table, or its own where they name an option."""
    for pattern, explain in _SAYINGS:
        match = re.search(pattern, text(error))
        if match:
            return explain(match, error)
    names_an_option = isinstance(error, Exception) and re.search(r"(^|[\s`'\"(])--[a-z][a-z-]+", first_line(error))
    return first_line(error) if names_an_option else None


def unloadable_checkpoint(error: BaseException) -> Optional[str]:
    """Explain an exception that left fairseq's reader of checkpoints; None if it came from elsewhere."""
    read = variables(error, "load_checkpoint_to_cpu")
    if "path" not in read or not isinstance(error, Exception):
        return None
    content = read.get("state")
    args = content.get("args") if isinstance(content, dict) else None
    if args is not None and getattr(args, "arch", None) not in ARCH_MODEL_REGISTRY:
        return unknown_architecture(read["path"], getattr(args, "arch", None))
    return unreadable_checkpoint(str(read["path"]), error)


def checkpoint_without_training(error: BaseException) -> Optional[str]:
    """Explain what a checkpoint lacks that training goes on from, as one whose criterion has no weights."""
    trained = variables(error, "load_checkpoint", "fairseq.trainer")
    if "filename" not in trained or not isinstance(error, (KeyError, TypeError, AttributeError)):
        return None
    if error.args == ("model",):
        # fairseq wants to begin it from weights that it has thrown away by then
        return (
            f"--store-ema: {trained['filename']} holds no moving average to go on with; "
            "leave the option out, or start from a checkpoint that was trained with it"
        )
    return (
        f"{trained['filename']}: training cannot resume from it ({first_line(error)}); "
        "start from its weights with --finetune-from-model"
    )


def refused_value(error: BaseException) -> Optional[str]:
    """Explain an exception that left the reader of an option's value, as of a list that is none."""
    read = variables(error, "_get_value", "argparse")
    if "action" not in read or not isinstance(error, Exception):
        return None
    option = "/".join(read["action"].option_strings) or read["action"].dest
    reason = first_line(error).split(" on line ")[0]
    return f"{option} {read.get('arg_string')}: is no value of this option ({reason})"


# Where fairseq makes something of options: function, module, the option, the local variable with its value.
_BUILDERS = (
    ("build_model", "fairseq.models", "--arch", "model_type"),
    ("build_criterion", "fairseq.criterions", "--criterion", ""),
    ("build_optimizer", "fairseq.optim", "--optimizer", ""),
    ("build_lr_scheduler", "fairseq.optim", "--lr-scheduler", ""),
    ("setup_task", "fairseq.tasks", "--task", "task_name"),
)
_MISBUILT = (ArithmeticError, AssertionError, AttributeError, LookupError, NameError, NotImplementedError)
_MISBUILT += (RuntimeError, TypeError, ValueError)


def unbuildable(error: BaseException) -> Optional[str]:
    """Explain an exception that left the building of a model, criterion, optimizer or task of the given options."""
    if not isinstance(error, _MISBUILT):
        return None
    for function, module, option, name in _BUILDERS:
        passed = variables(error, function, module)
        if passed:
            chosen = f"{option} {passed[name]}" if passed.get(name) else option
            return f"{chosen}: cannot be built with these options and data ({first_line(error)})"
    return None
