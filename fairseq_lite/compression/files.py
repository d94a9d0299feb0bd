"""Compressed checkpoints as files: made, written small, checked, and read by every command of fairseq."""

from __future__ import annotations

import functools
import io
import os
import zipfile
from typing import IO, Callable, Iterable

import torch
from fairseq import checkpoint_utils
from fairseq.file_io import PathManager

from fairseq_lite.compression.packing import Damaged
from fairseq_lite.compression.states import State, is_packed, pack_state, unpack_state
from fairseq_lite.compression.tensors import Scheme
from fairseq_lite.errors import UserError

# Of what training left beside the model, all that loading one asks for.
_KEPT_EXTRA_STATE = ("train_iterator", "val_loss", "best")


def compress(checkpoint: dict, scheme: Scheme, progress: Callable[[Iterable], Iterable] = iter) -> dict:
    """A checkpoint of fairseq with its model packed, and without the optimizer's state, metrics and moving averages."""
    extra_state = {key: value for key, value in checkpoint["extra_state"].items() if key in _KEPT_EXTRA_STATE}
    kept = {key: value for key, value in checkpoint.items() if key != "last_optimizer_state"}
    history = checkpoint["optimizer_history"][-1:]
    packed = pack_state(checkpoint["model"], scheme, progress)
    return {**kept, "optimizer_history": history, "extra_state": extra_state, "model": packed}


def save_deflated(checkpoint: dict, file: IO) -> None:
    """torch.save with the options deflated and nothing padded; to torch.load it is the same archive."""
    saved = io.BytesIO()
    torch.save(checkpoint, saved)
    with zipfile.ZipFile(saved) as source, zipfile.ZipFile(file, "w") as target:
        for name in source.namelist():
            method = zipfile.ZIP_DEFLATED if name.endswith(".pkl") else zipfile.ZIP_STORED
            target.writestr(zipfile.ZipInfo(name), source.read(name), method, compresslevel=9)


def read_packed(path: str, packed: State) -> State:
    """Unpack the state dict that was read from a file; raises UserError where the file is damaged."""
    try:
        # The archive's own checksums cover the options, which torch does not check.
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                damaged = archive.testzip()
            if damaged:
                raise Damaged(f"the checksum of {damaged} is wrong")
        return unpack_state(packed)
    except (Damaged, zipfile.BadZipFile) as error:
        raise UserError(
            f"{path}: this compressed checkpoint of {os.path.getsize(path)} bytes is damaged ({error}); "
            "copy or compress it again"
        ) from error


def read_compressed_checkpoints() -> None:
    """Let fairseq read compressed checkpoints as it reads others.

    All its commands and its Python interface read through checkpoint_utils.load_checkpoint_to_cpu, whatever the model.
    Hooks of models come later, where the file's name is lost and fairseq takes an error for another architecture.
    """
    load = checkpoint_utils.load_checkpoint_to_cpu

    @functools.wraps(load)
    def load_and_unpack(path, *args, **kwargs):
        checkpoint = load(path, *args, **kwargs)
        if is_packed(checkpoint.get("model")):
            checkpoint["model"] = read_packed(PathManager.get_local_path(path), checkpoint["model"])
        return checkpoint

    checkpoint_utils.load_checkpoint_to_cpu = load_and_unpack
