"""fairseq_lite: sequence models made small and fast inside fairseq; importing it registers everything.

`__all__` is the public API. Each name can be imported from here or from its room.
"""

from importlib import import_module

from fairseq_lite import hooks
from fairseq_lite.compat import require_fairseq
from fairseq_lite.version import VERSION as __version__  # noqa: F401

# The rooms and root modules, and what of each is handed on from here.
PUBLIC = {
    "modules": "LSRA LinearAttention WindowedLinearAttention LightweightConv DynamicConv FEATURE_MAPS",
    "checkpoints": "read_checkpoint write_checkpoint load_model model_of derived_checkpoint",
    "averaging": "average",
    "models": "build_architecture take_layers",
    "pruning": "Pruner PruningOptions shrink sparsity_of",
    "compression": "Scheme compress decompress write_compressed",
    "distillation": "LayerMatching divergence",
    "measure": "count_mult_adds count_parameters measure_latency bytes_by_part",
    "export": "export_checkpoint",
    "errors": "UserError",
}
_HOMES = {name: room for room, names in PUBLIC.items() for name in names.split()}
__all__ = list(_HOMES)


def __getattr__(name):
    """Import a public name when it is asked for, so that fairseq's commands do not wait for what they do not use."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__():
    return [*globals(), *__all__]


require_fairseq()
hooks.install()
for _room in ("criterions", "models", "scoring", "tasks"):
    import_module(f"fairseq_lite.{_room}")
