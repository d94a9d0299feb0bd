"""Compressed checkpoints as files: made, written small, and read back."""

from __future__ import annotations

import io
import os
import zipfile
from typing import IO, Callable, Iterable

import torch

from fairseq_lite.compression.packing import Damaged
from fairseq_lite.compression.states import is_packed, pack_state, unpack_state
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


def unsealed_checkpoint(checkpoint: dict, path: str) -> dict:
    """A checkpoint as it was read from a file, decompressed if it is compressed; raises UserError for damage."""
    if not is_packed(checkpoint.get("model")):
        return checkpoint
    try:
        return {**checkpoint, "model": unpack_state(checkpoint["model"])}
    except Damaged as error:
        raise UserError(
            f"{path}: this compressed checkpoint of {os.path.getsize(path)} bytes is damaged ({error}); "
            "copy or compress it again"
        ) from error
