"""Reading and writing checkpoints of fairseq, and the models in them."""

from __future__ import annotations

import copy
import os
from typing import IO, Any, Callable, Dict, List, Optional, Union

import torch
from fairseq import checkpoint_utils
from fairseq.dataclass.utils import omegaconf_no_object_check
from fairseq.models import ARCH_MODEL_REGISTRY, BaseFairseqModel, build_model
from omegaconf import OmegaConf

from fairseq_lite.building import check_architecture, task_of_language_pairs, task_of_sizes
from fairseq_lite.embedding_files import forget_embedding_files
from fairseq_lite.errors import UserError
from fairseq_lite.explain import misfit, one_line, unknown_architecture, unreadable_checkpoint
from fairseq_lite.output_files import write_atomically

StrPath = Union[str, "os.PathLike[str]"]
Checkpoint = Dict[str, Any]
StateDict = Dict[str, torch.Tensor]
# The one key of a compressed model's weights; files have had it since 0.1.0.
SEALED = "fairseq_lite.packed"
# What errors call a checkpoint that is of no file.
UNNAMED = "the checkpoint"
# What a small buffer may repeat of its own entries.
_REPEATED_ENTRIES = 1 << 20


def read_checkpoint(path: StrPath) -> Checkpoint:
    """A checkpoint as fairseq reads it, brought up to its present format, and decompressed if it is compressed.

    Its entry `model` holds the weights by name, `cfg` the options of the training.

    Args:
        path: file that fairseq-train or this plugin wrote

    Raises UserError for a file that is no checkpoint or is damaged.

    Examples:
        >>> from fairseq_lite import read_checkpoint
        >>> checkpoint = read_checkpoint("checkpoint.pt")
        >>> checkpoint["cfg"]["model"]._name
        'lite_transformer_tiny'
        >>> checkpoint["model"]["encoder.layers.0.fc1.weight"].shape
        torch.Size([64, 64])
    """
    path = os.fspath(path)
    try:
        checkpoint = checkpoint_utils.load_checkpoint_to_cpu(path)
    except Exception as error:
        raise UserError(_of_file(path, one_line(error) or unreadable_checkpoint(path, error))) from error
    require_model(checkpoint, path)
    return checkpoint


def require_model(checkpoint: Any, path: str) -> None:
    """Raise UserError for a file that holds no weights, or no options to build a model with."""
    if not isinstance(checkpoint, dict) or "model" not in checkpoint or not checkpoint.get("cfg"):
        raise UserError(f"{path}: holds no model with its options; give a checkpoint that fairseq-train wrote")
    model, extra_state = checkpoint["model"], checkpoint.get("extra_state")
    if not isinstance(model, dict) or not all(map(torch.is_tensor, model.values())):
        raise UserError(f"{path}: its entry 'model' holds no weights by name; give what fairseq-train wrote")
    require_stored(model, path)
    if not isinstance(extra_state, dict) or "model" not in checkpoint["cfg"]:
        raise UserError(f"{path}: its options or its state of training are no checkpoint's of fairseq")


def require_stored(state: StateDict, path: str) -> None:
    """Raise UserError for a tensor whose entries are not all in the file, such as a view that repeats one of them."""
    for name, tensor in state.items():
        dense = tensor.layout == torch.strided and tensor.device.type == "cpu"
        if not dense or tensor.numel() > _REPEATED_ENTRIES + _stored_entries(tensor):
            kind = f"{list(tensor.shape)} of {tensor.layout}, {tensor.device}"
            raise UserError(f"{path}: its weight {name}, {kind}, is not stored entry by entry; such a file is not safe")


def _stored_entries(tensor: torch.Tensor) -> int:
    return 1 + sum((size - 1) * stride for size, stride in zip(tensor.shape, tensor.stride()))


def _of_file(path: str, line: str) -> str:
    """An explanation that names the file which it is about."""
    return line if path in line else f"{path}: {line}"


def write_checkpoint(
    checkpoint: Checkpoint, path: StrPath, save: Callable[[Checkpoint, IO], None] = torch.save
) -> None:
    """Write a checkpoint as a whole or not at all, for fairseq's commands and `read_checkpoint`.

    Args:
        checkpoint: as `read_checkpoint` gives it
        path: file to write; one that is there is replaced
        save: writes a checkpoint into a file object

    Raises UserError where the system refuses to write.

    Examples:
        >>> from fairseq_lite import read_checkpoint, write_checkpoint
        >>> write_checkpoint(read_checkpoint("checkpoint.pt"), "copy.pt")
    """
    # As plain containers: weights-only loading refuses omegaconf's classes.
    cfg = OmegaConf.to_container(checkpoint["cfg"], resolve=True, enum_to_str=True)
    with write_atomically(path) as file:
        save(dict(checkpoint, cfg=cfg), file)


def new_checkpoint(cfg: Any, state: StateDict) -> Checkpoint:
    """A checkpoint of weights that no training has gone on with yet."""
    return {
        "args": None,
        "cfg": cfg,
        "model": state,
        "criterion": None,
        "optimizer_history": [{"criterion_name": "", "optimizer_name": "", "lr_scheduler_state": {}, "num_updates": 0}],
        "extra_state": {"train_iterator": {"epoch": 1, "iterations_in_epoch": 0}},
        "task_state": {},
    }


def with_model_options(cfg: Any, options: Any) -> Any:
    """A copy of a training's configuration with other options of the model, a Namespace or a DictConfig."""
    cfg = copy.deepcopy(cfg)
    with omegaconf_no_object_check():
        cfg["model"] = options
    return cfg


def derived_checkpoint(checkpoint: Checkpoint, state: StateDict) -> Checkpoint:
    """The checkpoint with other weights, without what belongs to the old ones.

    That is the optimizer's state, weights of the criterion's and the moving averages of `--store-ema`.

    Args:
        checkpoint: which stays as it is
        state: the weights by name, as of `model.state_dict()`

    Examples:
        >>> from fairseq_lite import derived_checkpoint, model_of, read_checkpoint, write_checkpoint
        >>> checkpoint = read_checkpoint("checkpoint.pt")
        >>> model = model_of(checkpoint)
        >>> model.half().state_dict()["encoder.layers.0.fc1.weight"].dtype
        torch.float16
        >>> write_checkpoint(derived_checkpoint(checkpoint, model.state_dict()), "half.pt")
    """
    extra_state = {key: value for key, value in checkpoint.get("extra_state", {}).items() if key != "ema"}
    kept = {key: value for key, value in checkpoint.items() if key != "last_optimizer_state"}
    return {**kept, "criterion": None, "extra_state": extra_state, "model": state}


def is_placeholder(name: str, tensor: torch.Tensor) -> bool:
    """Whether fairseq never fills a tensor nor looks at its values, so that they are what memory held before.

    These are the buffers that only tell a device, and the bias of a dynamic convolution that has none.
    """
    return name.endswith("_float_tensor") or name.endswith("conv.conv_bias") and tensor.dim() == 3


def require_finite(state: StateDict, path: str) -> None:
    """Raise UserError that names a checkpoint's weights that are infinite or not a number, the first three of them."""
    diverged = [
        name
        for name, tensor in state.items()
        if tensor.is_floating_point() and not is_placeholder(name, tensor) and not tensor.isfinite().all()
    ]
    if diverged:
        more = f" and {len(diverged) - 3} more" if len(diverged) > 3 else ""
        names = ", ".join(diverged[:3]) + more
        raise UserError(f"{path}: holds weights that are infinite or not a number ({names}); its training diverged")


def vocabulary_size(state: StateDict, side: str) -> int:
    """Entries of a side's embedding table, adaptive (Baevski and Auli, 2019) or plain; 0 if it has none."""
    # roberta keeps a Transformer's encoder one level deeper.
    tables = (f"{side}.embed_tokens.", f"{side}.sentence_encoder.embed_tokens.")
    size = sum(
        weight.size(0)
        for table in tables
        for name, weight in state.items()
        if name == table + "weight" or name.startswith(table + "embeddings.") and name.endswith(".0.weight")
    )
    # Embeddings made of characters have no entry for each word, the output has.
    output = state.get(f"{side}.output_projection.weight")
    return output.size(0) if size == 0 and output is not None else size


def architecture_of(options) -> Optional[str]:
    """The registered name that a model's options carry: one of fairseq's two fields, by how it was registered."""
    return getattr(options, "_name", None) or getattr(options, "arch", None)


def model_options(checkpoint: Checkpoint, path: str):
    """The model's options in a checkpoint; raises UserError for an unknown architecture and for compressed weights."""
    if SEALED in checkpoint["model"]:
        raise UserError(f"{path}: is compressed; give what decompress returns, or write it and read it back")
    options = checkpoint["cfg"]["model"]
    name = architecture_of(options)
    if name not in ARCH_MODEL_REGISTRY:
        raise UserError(unknown_architecture(path, name))
    return options


def build_model_of(checkpoint: Checkpoint, path: str) -> BaseFairseqModel:
    """The model that a checkpoint's options describe, with weights not loaded yet.

    Raises UserError for an architecture or options of which no model can be built.
    """
    state = checkpoint["model"]
    options = copy.copy(model_options(checkpoint, path))
    forget_embedding_files(options)
    if any(name.startswith("classification_heads.") for name in state):
        # roberta drops those heads, which tasks add to it, unless it is told that they are wanted.
        if OmegaConf.is_config(options):
            OmegaConf.set_struct(options, False)
        options.load_checkpoint_heads = True
    try:
        check_architecture(architecture_of(options))
        return build_model(options, _task_of(state))
    except Exception as error:
        line = one_line(error)
        if line is None:
            raise
        raise UserError(_of_file(path, line)) from error


def _task_of(state: StateDict):
    """A task with the dictionaries that a model's embedding tables are for."""
    pairs = list(dict.fromkeys(name.split(".")[1] for name in state if name.startswith("models.")))
    if pairs:
        sides = {lang: side for pair in pairs for lang, side in zip(pair.split("-"), _sides(pair))}
        return task_of_language_pairs(pairs, {lang: vocabulary_size(state, side) for lang, side in sides.items()})
    source, target = vocabulary_size(state, "encoder"), vocabulary_size(state, "decoder")
    return task_of_sizes(source or target, target or source)


def _sides(pair: str) -> List[str]:
    return [f"models.{pair}.{side}" for side in ("encoder", "decoder")]


def load_model(path: StrPath) -> BaseFairseqModel:
    """The model of a checkpoint file with its weights, in evaluation mode; needs no data folder and no dictionary.

    Args:
        path: checkpoint of fairseq's or of this plugin's, compressed or not

    Raises UserError for a file that is no checkpoint, and for weights that do not fit or are not finite.

    Examples:
        >>> import torch
        >>> from fairseq_lite import load_model
        >>> model = load_model("checkpoint.pt")
        >>> source, target = torch.tensor([[4, 5, 6, 2]]), torch.tensor([[2, 4, 5]])
        >>> logits, _ = model(source, torch.tensor([4]), target)  # of words: [B, T, V]
        >>> logits.shape
        torch.Size([1, 3, 24])
    """
    path = os.fspath(path)
    return model_of(read_checkpoint(path), path)


def model_of(checkpoint: Checkpoint, path: str = UNNAMED) -> BaseFairseqModel:
    """The model of a checkpoint, which stays as it is, in evaluation mode.

    Args:
        checkpoint: as `read_checkpoint` gives it
        path: what errors call it

    Raises UserError if weights do not fit or are not finite.

    Examples:
        >>> from fairseq_lite import model_of, read_checkpoint
        >>> model_of(read_checkpoint("checkpoint.pt")).training
        False
    """
    model = build_model_of(checkpoint, path)
    require_finite(checkpoint["model"], path)
    try:
        model.load_state_dict(dict(checkpoint["model"]), strict=True, model_cfg=checkpoint["cfg"]["model"])
    except RuntimeError as error:
        raise UserError(misfit(path, str(error))) from error
    return model.eval()


def distinct(state: StateDict) -> StateDict:
    """A state dict's tensors, tied ones once, under the first of their names.

    Tied is what lies in one place of memory, as torch.load leaves it. Compression alone also takes equal matrices for
    tied (`first_of_equals`), since some checkpoints store them twice.
    """
    first: Dict[int, str] = {}
    return {name: tensor for name, tensor in state.items() if first.setdefault(tensor.data_ptr(), name) == name}


def shape_mismatches(found: StateDict, wanted: StateDict) -> List[str]:
    """Every difference between two state dicts in names and shapes, a phrase each."""
    missing = [f"{name} is missing" for name in wanted if name not in found]
    surplus = [f"{name} is left over" for name in found if name not in wanted]
    reshaped = [
        f"{name} is {list(found[name].shape)} instead of {list(wanted[name].shape)}"
        for name in wanted
        if name in found and found[name].shape != wanted[name].shape
    ]
    return missing + surplus + reshaped
