"""Architectures of shrunk checkpoints: models as they were, but for linear layers of the neurons that are left."""

import copy
import json
from typing import Dict

import torch.nn as nn
from fairseq.models import ARCH_CONFIG_REGISTRY, MODEL_REGISTRY, register_model, register_model_architecture
from fairseq.modules import MultiheadAttention
from fairseq.modules.transformer_layer import TransformerEncoderLayerBase

from fairseq_lite.checkpoints import architecture_of, model_options, read_checkpoint
from fairseq_lite.errors import UserError
from fairseq_lite.models.fast_path import leave_fast_path
from fairseq_lite.modules import PrunedLinear, Widths

PRUNED_PREFIX = "pruned_"
SHRINKABLE_MODELS = (
    "transformer",
    "transformer_lm",
    "roberta",
    "lite_transformer",
    "lite_transformer_lm",
    "t2r_transformer",
    "t2r_transformer_lm",
)


def unpruned_options(options):
    """The options of a model before it was shrunk; of one that was not, its own."""
    name = architecture_of(options)
    options = copy.deepcopy(options)
    if name.startswith(PRUNED_PREFIX):
        options._name = options.arch = name[len(PRUNED_PREFIX) :]
    return options


def narrow(model: nn.Module, widths: Dict[str, Widths]) -> None:
    """Put pruned linear layers in the place of those that `widths` names, and fit attention to them."""
    for name, layer_widths in widths.items():
        parent, _, leaf = name.rpartition(".")
        bias = model.get_submodule(name).bias is not None
        setattr(model.get_submodule(parent), leaf, PrunedLinear(layer_widths, bias))
    for module in model.modules():
        if isinstance(module, MultiheadAttention):
            _fit_heads(module)
        elif isinstance(module, TransformerEncoderLayerBase):
            leave_fast_path(module)


def _fit_heads(attention: MultiheadAttention) -> None:
    """Heads as wide as their projections give, and no path that takes the projections' weights for whole ones."""
    projections = (attention.q_proj, attention.k_proj, attention.v_proj, attention.out_proj)
    if any(isinstance(projection, PrunedLinear) for projection in projections):
        attention.embed_dim = attention.v_proj.out_features
        attention.head_dim = attention.embed_dim // attention.num_heads
        attention.skip_embed_dim_check = True


def _widths_in(path: str) -> str:
    widths = getattr(model_options(read_checkpoint(path), path), "pruned_widths", None)
    if widths is None:
        raise UserError(f"--pruned-widths {path}: is not shrunk; name a checkpoint that `fairseq-lite shrink` wrote")
    return widths


class PrunedMixin:
    """Builds the model of the checkpoint that was shrunk, then narrows it."""

    @classmethod
    def add_args(cls, parser):
        super().add_args(parser)
        parser.add_argument(
            "--pruned-widths", metavar="CHECKPOINT", help="checkpoint that `fairseq-lite shrink` wrote, to train on"
        )

    @classmethod
    def build_model(cls, args, task):
        given = getattr(args, "pruned_widths", None)
        if not given:
            raise UserError("--pruned-widths: not given; name the checkpoint that `fairseq-lite shrink` wrote")
        if not given.startswith("{"):
            args.pruned_widths = _widths_in(given)
        model = super().build_model(args, task)
        model.widths = {name: Widths(*sizes) for name, sizes in json.loads(args.pruned_widths).items()}
        model._narrow("")
        return model

    def _narrow(self, prefix: str) -> None:
        """Narrow what is there by now of all that `prefix` begins."""
        present = dict(self.named_modules())
        narrow(self, {name: w for name, w in self.widths.items() if name.startswith(prefix) and name in present})

    def register_classification_head(self, name, *args, **kwargs):
        super().register_classification_head(name, *args, **kwargs)
        self._narrow(f"classification_heads.{name}.")


def _register(base: str) -> None:
    model = MODEL_REGISTRY[base]
    pruned = type(f"Pruned{model.__name__}", (PrunedMixin, model), {})
    register_model(PRUNED_PREFIX + base)(pruned)
    register_model_architecture(PRUNED_PREFIX + base, PRUNED_PREFIX + base)(
        ARCH_CONFIG_REGISTRY.get(base, lambda args: None)
    )


for _base in SHRINKABLE_MODELS:
    _register(_base)
