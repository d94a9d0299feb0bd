"""Checkpoints as folders that run without torch and fairseq; what writes them is in the extra [export]."""

from fairseq_lite.export.checkpoint import Exported, export_checkpoint

__all__ = ["Exported", "export_checkpoint"]
