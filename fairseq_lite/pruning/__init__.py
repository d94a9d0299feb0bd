"""Structured pruning: units, their importance, masks while training, and shrinking afterwards."""

from fairseq_lite.pruning.options import PruningOptions
from fairseq_lite.pruning.pruner import Pruner
from fairseq_lite.pruning.shrinking import shrink
from fairseq_lite.pruning.sparsity import Sparsity, sparsity_of

__all__ = ["Pruner", "PruningOptions", "Sparsity", "shrink", "sparsity_of"]
