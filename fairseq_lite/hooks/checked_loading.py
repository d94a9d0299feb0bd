"""What fairseq's reader of checkpoints does more with this plugin: it checks files and options, and decompresses."""

from __future__ import annotations

import functools
import os

from fairseq import checkpoint_utils
from fairseq.file_io import PathManager

from fairseq_lite.archives import require_whole_archive
from fairseq_lite.checkpoints import require_model
from fairseq_lite.compression.files import decompress
from fairseq_lite.errors import UserError
from fairseq_lite.evaluated_options import require_literal_options


def check_and_decompress_checkpoints() -> None:
    """Let fairseq refuse damaged and unsafe checkpoints, and read compressed ones as it reads others.

    All its commands and its Python interface read through checkpoint_utils.load_checkpoint_to_cpu, whatever the model.
    Hooks of models come later, where the file's name is lost and fairseq takes an error for another architecture.
    """
    load = checkpoint_utils.load_checkpoint_to_cpu

    @functools.wraps(load)
    def load_checked(path, *args, **kwargs):
        local_path = PathManager.get_local_path(path)
        require_whole_archive(local_path)
        checkpoint = load(path, *args, **kwargs)
        require_model(checkpoint, path)
        require_literal_options(checkpoint, path)
        # Old files lack it, and a criterion with weights of its own asks for it.
        checkpoint.setdefault("criterion", None)
        return decompress(checkpoint, local_path)

    checkpoint_utils.load_checkpoint_to_cpu = load_checked


def refuse_folders_to_finetune_from() -> None:
    """Let fairseq-train refuse a folder as --finetune-from-model, which it takes for no checkpoint at all."""
    load = checkpoint_utils.load_checkpoint

    @functools.wraps(load)
    def load_file(cfg, trainer, **passthrough_args):
        source = cfg.finetune_from_model
        if source is not None and os.path.isdir(source):
            raise UserError(f"--finetune-from-model {source}: is a folder; give the path of a checkpoint (.pt)")
        return load(cfg, trainer, **passthrough_args)

    checkpoint_utils.load_checkpoint = load_file
