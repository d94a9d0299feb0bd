"""The distance of a student's predictions and hidden states from a teacher's."""

from fairseq_lite.distillation.layers import LayerMatching
from fairseq_lite.distillation.losses import divergence, ensemble, log_probabilities

__all__ = ["LayerMatching", "divergence", "ensemble", "log_probabilities"]
