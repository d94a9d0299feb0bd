"""Registered models with their named sizes, and models built and cut outside a training.

Importing this room registers the models.
"""

from fairseq_lite.building import build_architecture
from fairseq_lite.models import architectures, bilstm_classifier, pruned  # noqa: F401
from fairseq_lite.models.fast_path import leave_fast_path
from fairseq_lite.models.taken_layers import take_layers

__all__ = ["build_architecture", "leave_fast_path", "take_layers"]
