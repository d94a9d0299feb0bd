"""The options of a search, which are inputs of the graph; what is not given has the graph's default."""

import dataclasses
import math
from typing import Optional

import numpy

from fairseq_lite_runtime.errors import InputError


def _option(dtype, least, help):
    return dataclasses.field(default=None, metadata={"dtype": dtype, "least": least, "help": help})


@dataclasses.dataclass
class SearchOptions:
    """fairseq's options of generation by the names of the graph's inputs."""

    beam: Optional[int] = _option(numpy.int64, 1, "hypotheses in parallel (default: the folder's)")
    lenpen: Optional[float] = _option(numpy.float32, None, "scores are divided by length ** lenpen (default: 1)")
    unk_penalty: Optional[float] = _option(numpy.float32, None, "taken off for each unknown word (default: 0)")
    min_len: Optional[int] = _option(numpy.int64, 0, "least tokens before the end (default: 1)")
    max_len_a: Optional[float] = _option(numpy.float32, 0, "most tokens are a * source + b (default: 0)")
    max_len_b: Optional[int] = _option(numpy.int64, 0, "most tokens are a * source + b (default: 200)")
    no_repeat_ngram: Optional[int] = _option(numpy.int64, 0, "no n words twice in this order (default: 0, off)")

    def inputs(self):
        """The given ones as the graph takes them; raises InputError for a value out of range."""
        found = {}
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if value is not None:
                found[field.name] = _checked(field, value)
        return found


def _checked(field, value):
    dtype, least = field.metadata["dtype"], field.metadata["least"]
    whole = dtype is numpy.int64
    if whole and value != int(value) or not math.isfinite(value):
        raise InputError(f"{field.name} {value}: must be a {'whole' if whole else 'finite'} number")
    if least is not None and value < least:
        raise InputError(f"{field.name} {value}: must be at least {least}")
    return numpy.array(value, dtype)
