"""Architectures of shrunk checkpoints: models as they were, but for linear layers of the neurons that are left."""

import copy
import json
from typing import Dict

import torch.nn as nn
from fairseq.models import (
    ARCH_CONFIG_REGISTRY,
    MODEL_DATACLASS_REGISTRY,
    MODEL_REGISTRY,
    register_model,
    register_model_architecture,
)
from fairseq.modules import MultiheadAttention
from fairseq.modules.transformer_layer import TransformerEncoderLayerBase
from omegaconf import OmegaConf

from fairseq_lite.checkpoints import architecture_of, model_options, read_checkpoint
from fairseq_lite.errors import UserError

# A model can only be extended after it is registered.
from fairseq_lite.models import (  # noqa: F401
    evolved_transformer,
    lite_transformer,
    lite_transformer_lm,
    t2r_transformer,
    t2r_transformer_lm,
)
from fairseq_lite.models.fast_path import leave_fast_path
from fairseq_lite.modules import LinearAttention, PrunedLinear, Widths

PRUNED_PREFIX = "pruned_"
# Models of ordinary Transformer layers, and the architecture that fills in the options of each.
SHRINKABLE_MODELS = {
    "transformer": "transformer",
    "transformer_lm": "transformer_lm",
    "transformer_align": "transformer_align",
    "multilingual_transformer": "multilingual_transformer",
    "bart": "bart_large",
    "roberta": "roberta",
    "lite_transformer": "lite_transformer",
    "lite_transformer_lm": "lite_transformer_lm",
    "t2r_transformer": "t2r_transformer",
    "t2r_transformer_lm": "t2r_transformer_lm",
    "evolved_transformer": "evolved_transformer",
}


def check_prunable(model: nn.Module) -> None:
    """Raise UserError for a model of which `fairseq-lite shrink` could not remove the pruned neurons."""
    # By the very class: fairseq's non-autoregressive models extend its Transformer by another decoder.
    names = [name for name, registered in MODEL_REGISTRY.items() if registered is type(model)]
    name = names[0] if names else type(model).__name__
    if not any(prefix + base == name for base in SHRINKABLE_MODELS for prefix in ("", PRUNED_PREFIX)):
        raise UserError(f"architecture {name!r}: cannot be pruned; those of {', '.join(SHRINKABLE_MODELS)} can")


def unpruned_options(options):
    """The options of a model before it was shrunk; of one that was not, its own."""
    name = architecture_of(options)
    options = copy.deepcopy(options)
    if name.startswith(PRUNED_PREFIX):
        if OmegaConf.is_config(options):
            OmegaConf.set_struct(options, False)
        options._name = options.arch = SHRINKABLE_MODELS[name[len(PRUNED_PREFIX) :]]
        # The option class of a language model refuses what it does not have.
        for surplus in ("pruned_widths", "arch") if options._name in MODEL_DATACLASS_REGISTRY else ("pruned_widths",):
            options.pop(surplus) if OmegaConf.is_config(options) else delattr(options, surplus)
    return options


def widths_of(options) -> Dict[str, Widths]:
    """The widths of a shrunk model's pruned layers, by their names; none of a model that was not shrunk."""
    return {name: Widths(*sizes) for name, sizes in json.loads(getattr(options, "pruned_widths", "{}")).items()}


def narrow(model: nn.Module, widths: Dict[str, Widths]) -> None:
    """Put pruned linear layers in the place of those that `widths` names, and fit attention to them."""
    for name, layer_widths in widths.items():
        parent, _, leaf = name.rpartition(".")
        bias = model.get_submodule(name).bias is not None
        setattr(model.get_submodule(parent), leaf, PrunedLinear(layer_widths, bias))
    for module in model.modules():
        if isinstance(module, MultiheadAttention):
            _fit_heads(module)
        elif isinstance(module, LinearAttention):
            module.head_dim = module.q_proj.out_features // module.num_heads
            module.feature_map = module.feature_map.for_heads_of(module.head_dim)
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
        """The narrowed model; raises UserError where --pruned-widths is not given or was not shrunk."""
        given = getattr(args, "pruned_widths", None)
        if not given:
            raise UserError("--pruned-widths: not given; name the checkpoint that `fairseq-lite shrink` wrote")
        if not given.startswith("{"):
            # The options are what a checkpoint stores: with the widths themselves it needs the other file no more.
            args.pruned_widths = _widths_in(given)
        model = super().build_model(args, task)
        # Some of fairseq's models build an instance of their own name, whatever class they are asked for.
        model.__class__ = cls
        model.widths = widths_of(args)
        model._narrow("")
        return model

    def _narrow(self, prefix: str) -> None:
        """Narrow what is there by now of all that `prefix` begins."""
        present = dict(self.named_modules(remove_duplicate=False))
        narrow(self, {name: w for name, w in self.widths.items() if name.startswith(prefix) and name in present})

    def register_classification_head(self, name, *args, **kwargs):
        super().register_classification_head(name, *args, **kwargs)
        self._narrow(f"classification_heads.{name}.")


def _register(base: str, architecture: str) -> None:
    model = MODEL_REGISTRY[base]
    pruned = type(f"Pruned{model.__name__}", (PrunedMixin, model), {})
    # Where pickle looks for the class.
    globals()[pruned.__name__] = pruned
    register_model(PRUNED_PREFIX + base)(pruned)
    defaults = ARCH_CONFIG_REGISTRY.get(architecture, lambda args: None)
    register_model_architecture(PRUNED_PREFIX + base, PRUNED_PREFIX + base)(defaults)


for _base, _architecture in SHRINKABLE_MODELS.items():
    _register(_base, _architecture)
