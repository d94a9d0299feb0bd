"""Compressed checkpoints as files: made, written small, and read back."""

from __future__ import annotations

import io
import os
import zipfile
from typing import IO, Callable, Iterable, Optional

import torch

from fairseq_lite.checkpoints import UNNAMED, Checkpoint, StrPath, write_checkpoint
from fairseq_lite.compression.magnitude import prune_smallest
from fairseq_lite.compression.packing import Damaged
from fairseq_lite.compression.scheme import Scheme
from fairseq_lite.compression.states import first_of_equals, is_sealed, seal_state, unseal_state
from fairseq_lite.errors import UserError

# Of what training left beside the model, all that loading one asks for.
_KEPT_EXTRA_STATE = ("train_iterator", "val_loss", "best")


def compress(
    checkpoint: Checkpoint,
    scheme: Optional[Scheme] = None,
    sparsity: float = 0.0,
    progress: Callable[[Iterable], Iterable] = iter,
) -> Checkpoint:
    """A checkpoint of fairseq with its model sealed, and without what only training needs, as the optimizer's state.

    Args:
        checkpoint: as `read_checkpoint` gives it, or compressed already; it stays as it is
        scheme: how tensors are coded, by default in 8 bits by k-means
        sparsity: the share of weights that are first set to zero, the smallest ones
        progress: wraps the iteration over the tensors' names

    Raises ArgumentError for a share outside [0, 1) and for a pattern of `scheme.keep` that is found nowhere, and
    UserError for weights that are not finite.

    Examples:
        >>> from fairseq_lite import Scheme, compress, read_checkpoint, write_compressed
        >>> compressed = compress(read_checkpoint("checkpoint.pt"), Scheme(bits=4, entropy_code=True))
        >>> write_compressed(compressed, "compressed.pt")
    """
    checkpoint = decompress(checkpoint)
    scheme = Scheme() if scheme is None else scheme
    state = checkpoint["model"]
    scheme.check_keep(state)
    equals = first_of_equals(state)
    sealed = seal_state(prune_smallest(state, sparsity, scheme, equals), scheme, equals, progress)
    extra_state = {key: value for key, value in checkpoint["extra_state"].items() if key in _KEPT_EXTRA_STATE}
    kept = {key: value for key, value in checkpoint.items() if key != "last_optimizer_state"}
    history = checkpoint["optimizer_history"][-1:]
    return {**kept, "criterion": None, "optimizer_history": history, "extra_state": extra_state, "model": sealed}


def write_compressed(checkpoint: Checkpoint, path: StrPath) -> None:
    """Write a compressed checkpoint as a small file, which `load_model` and fairseq's commands read like any other.

    Args:
        checkpoint: as `compress` gives it
        path: file to write; one that is there is replaced

    Raises UserError for a checkpoint that is not compressed, and where the system refuses to write.

    Examples:
        >>> import os
        >>> from fairseq_lite import compress, load_model, read_checkpoint, write_compressed
        >>> write_compressed(compress(read_checkpoint("checkpoint.pt")), "compressed.pt")
        >>> model = load_model("compressed.pt")
        >>> round(os.path.getsize("checkpoint.pt") / os.path.getsize("compressed.pt"))
        4
    """
    if not is_sealed(checkpoint["model"]):
        raise UserError(f"{path}: the checkpoint to write is not compressed; give what compress returns")
    write_checkpoint(checkpoint, path, save_deflated)


def save_deflated(checkpoint: Checkpoint, file: IO) -> None:
    """torch.save with the options deflated and nothing padded; to torch.load it is the same archive."""
    saved = io.BytesIO()
    torch.save(checkpoint, saved)
    with zipfile.ZipFile(saved) as source, zipfile.ZipFile(file, "w") as target:
        for name in source.namelist():
            method = zipfile.ZIP_DEFLATED if name.endswith(".pkl") else zipfile.ZIP_STORED
            target.writestr(zipfile.ZipInfo(name), source.read(name), method, compresslevel=9)


def decompress(checkpoint: Checkpoint, path: str = UNNAMED) -> Checkpoint:
    """A compressed checkpoint with weights in float32, each one of the levels; another checkpoint as it is.

    `read_checkpoint` and fairseq's commands do it by themselves.

    Args:
        checkpoint: as `compress` gives it
        path: what errors call it

    Raises UserError for damage.

    Examples:
        >>> from fairseq_lite import Scheme, compress, decompress, model_of, read_checkpoint
        >>> compressed = compress(read_checkpoint("checkpoint.pt"), Scheme(bits=2))
        >>> model = model_of(decompress(compressed))
        >>> len(model.encoder.layers[0].fc2.weight.unique())
        4
    """
    if not is_sealed(checkpoint.get("model")):
        return checkpoint
    try:
        return {**checkpoint, "model": unseal_state(checkpoint["model"])}
    except Damaged as error:
        size = f" of {os.path.getsize(path)} bytes" if os.path.isfile(path) else ""
        raise UserError(
            f"{path}: this compressed checkpoint{size} is damaged ({error}); copy or compress it again"
        ) from error
