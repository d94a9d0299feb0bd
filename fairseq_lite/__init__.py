"""fairseq_lite: sequence models made small and fast inside fairseq; importing it registers everything."""

from importlib import import_module

from fairseq_lite import hooks
from fairseq_lite.compat import require_fairseq
from fairseq_lite.version import VERSION as __version__  # noqa: F401

require_fairseq()
hooks.install()
for _room in ("criterions", "models", "scoring", "tasks"):
    import_module(f"fairseq_lite.{_room}")
