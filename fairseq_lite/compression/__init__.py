"""Compressed checkpoints: weights as indices of few levels, sealed in one tensor of bytes."""

from fairseq_lite.compression.files import compress, decompress, write_compressed
from fairseq_lite.compression.scheme import Scheme

__all__ = ["Scheme", "compress", "decompress", "write_compressed"]
