"""All that importing the plugin changes of fairseq, torch, numpy and the interpreter; nothing else patches them."""

from importlib import import_module
from typing import NamedTuple, Optional, Tuple


class Hook(NamedTuple):
    """One change: of what, why, in which releases it is needed, and the function that makes it.

    `target` is `module:name` and `parameters` are those that the wrapper expects it to have (None: not wrapped).
    `installer` is `module:function` in this package, imported only when it is called.
    """

    target: str
    parameters: Optional[Tuple[str, ...]]
    why: str
    releases: str
    installer: str


HOOKS = (
    Hook(
        "logging:root",
        None,
        "iopath, which fvcore needs, logs before a command of fairseq sets up logging, and so silences it",
        "all, where iopath is installed; in fairseq's commands only",
        "hooks.repairs:restore_fairseq_logs",
    ),
    Hook(
        "numpy:compat",
        None,
        "fairseq reads np.compat.long for --sample-break-mode eos",
        "numpy 2",
        "hooks.repairs:restore_numpy_long",
    ),
    Hook(
        "torch.serialization:add_safe_globals",
        ("safe_globals",),
        "weights-only loading refuses the options and numpy scalars in checkpoints, and options sent to workers",
        "torch 2.6 and later",
        "hooks.repairs:allow_fairseq_checkpoints",
    ),
    Hook(
        "fairseq.data.data_utils:batch_by_size",
        (
            "indices",
            "num_tokens_fn",
            "num_tokens_vec",
            "max_tokens",
            "max_sentences",
            "required_batch_size_multiple",
            "fixed_shapes",
        ),
        "drops the last batch of a data set where it is no multiple of the required size",
        "ve-fairseq, fairseq-fixed; left alone where a probe keeps its last batch",
        "hooks.repairs:keep_last_batch",
    ),
    Hook(
        "fairseq.tasks.fairseq_task:FairseqTask.filter_indices_by_size",
        ("self", "indices", "dataset", "max_positions", "ignore_invalid_inputs"),
        "a data set of which no sentence is short enough ends in an IndexError or in epochs without end",
        "all",
        "hooks.repairs:refuse_filtering_all",
    ),
    Hook(
        "fairseq.tasks.fairseq_task:FairseqTask.get_batch_iterator",
        ("self", "dataset", "epoch", "disable_iterator_cache", "update_epoch_batch_itr"),
        "orders the sentences of a resumed training otherwise than those of an uninterrupted one",
        "ve-fairseq, fairseq-fixed; left alone where its source does not order by epoch",
        "hooks.resumed_order:keep_order_when_resuming",
    ),
    Hook(
        "fairseq.ngram_repeat_block:NGramRepeatBlock._no_repeat_ngram",
        ("self", "tokens", "lprobs", "bsz", "beam_size", "step"),
        "--no-repeat-ngram-size compares the padding behind a hypothesis and blocks nothing",
        "all, without the CUDA extension; left alone where a probe finds repeats blocked",
        "hooks.repeated_ngrams:block_repeated_ngrams",
    ),
    Hook(
        "fairseq.models:build_model",
        ("cfg", "task", "from_checkpoint"),
        "a size of zero or a list that is none ends in a ZeroDivisionError or is evaluated as Python",
        "all; 0.12.2 has no from_checkpoint",
        "hooks.model_options:check_before_building",
    ),
    Hook(
        "fairseq.checkpoint_utils:load_checkpoint_to_cpu",
        ("path", "arg_overrides", "load_on_all_ranks"),
        "loads damaged files and runs options as Python; with it compressed files are read as plain ones",
        "all",
        "hooks.checked_loading:check_and_decompress_checkpoints",
    ),
    Hook(
        "fairseq.trainer:Trainer.__init__",
        ("self", "cfg", "task", "model", "criterion"),
        "a criterion sees the model with the first batch, too late for weights of its own that depend on it",
        "all; for criterions with `meet` only",
        "hooks.met_models:let_criterions_meet_models",
    ),
    Hook(
        "fairseq.trainer:Trainer.train_step",
        ("self", "samples", "raise_oom"),
        "training a pruned model without its masks brings neurons back, which nothing else would say",
        "all",
        "hooks.revived_neurons:warn_of_revived_neurons",
    ),
    Hook(
        "fairseq.trainer:Trainer._build_optimizer",
        ("self",),
        "a learning rate and weight decay of its own for the first updates of a training, which transfer attention",
        "all; in trainings with --transfer-updates only",
        "hooks.transfer_stage:schedule_transfer_stage",
    ),
    Hook(
        "fairseq.trainer:Trainer.clip_grad_norm",
        ("self", "clip_norm"),
        "gradients are not clipped in updates that transfer attention",
        "all; in trainings with --transfer-updates only",
        "hooks.transfer_stage:leave_transfer_unclipped",
    ),
    Hook(
        "fairseq.checkpoint_utils:load_checkpoint",
        ("cfg", "trainer", "passthrough_args"),
        "trains from scratch where --finetune-from-model is a folder",
        "all",
        "hooks.checked_loading:refuse_folders_to_finetune_from",
    ),
    Hook(
        "sys:excepthook",
        None,
        "a user's mistake ends a command on one line and exit code 2, an interrupt on 130, not on a traceback",
        "all; in fairseq's commands only",
        "hooks.one_line_errors:print_in_one_line",
    ),
)


def install() -> None:
    """Make every change of HOOKS, in order; to be called once, when the package is imported."""
    for hook in HOOKS:
        module, name = hook.installer.split(":")
        getattr(import_module(f"fairseq_lite.{module}"), name)()
