"""Compressed checkpoints: weights as indices of few levels, sealed in one tensor of bytes."""

from fairseq_lite.compression.files import compress, write_compressed
from fairseq_lite.compression.scheme import Scheme

__all__ = ["Scheme", "compress", "write_compressed"]
