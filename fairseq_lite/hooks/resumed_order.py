"""The order of sentences of a training that is resumed."""

from __future__ import annotations

import functools
import inspect

from fairseq.tasks import FairseqTask


def keep_order_when_resuming() -> None:
    """Let a resumed training have the batches of an uninterrupted one.

    Some releases of fairseq order sentences by seed + epoch when a training starts, and keep those batches for all
    epochs. A resumed training starts in a later epoch. It takes the order of the first one here.
    """
    original = FairseqTask.get_batch_iterator
    if "seed + epoch" not in inspect.getsource(original):
        return

    signature = inspect.signature(original)

    @functools.wraps(original)
    def get_batch_iterator(*args, **kwargs):
        given = signature.bind(*args, **kwargs)
        given.apply_defaults()
        task, dataset, epoch = (given.arguments[name] for name in ("self", "dataset", "epoch"))
        if epoch == 1 or not _keeps_batches(task, dataset, given.arguments):
            return original(*args, **kwargs)
        given.arguments["epoch"] = 1
        iterator = original(*given.args, **given.kwargs)
        dataset.set_epoch(epoch)
        iterator.epoch = epoch
        return iterator

    FairseqTask.get_batch_iterator = get_batch_iterator


def _keeps_batches(task: FairseqTask, dataset, options) -> bool:
    """Whether fairseq makes batches of this dataset now, and then keeps them for all later epochs."""
    makes_new = options.get("disable_iterator_cache") or options.get("update_epoch_batch_itr")
    rebuilds = getattr(task.cfg, "rebuild_batches", False) or task.has_sharded_data("train")
    made = dataset in task.dataset_to_epoch_iter
    return task.can_reuse_epoch_itr(dataset) and not (makes_new or rebuilds or made)
