"""What values the options of a model can take, by the endings of their names; fairseq's models included."""

from __future__ import annotations

import re
from argparse import Namespace
from typing import Any, Dict, List, NamedTuple, Optional

from omegaconf import OmegaConf

from fairseq_lite.errors import UserError


class Range(NamedTuple):
    """Options whose names match, the numbers they take, and whether these are whole."""

    names: str
    least: float
    most: float = float("inf")
    whole: bool = True

    def fault(self, value: Any) -> Optional[str]:
        """What the value should be, None if it is right; a value that is no number is fairseq's to judge."""
        if not isinstance(value, (int, float)) or isinstance(value, bool):
            return None
        if self.least <= value <= self.most and (not self.whole or value == int(value)):
            return None
        kind = "a whole number" if self.whole else "a number"
        limits = f"at least {self.least}" if self.most == float("inf") else f"from {self.least} to {self.most}"
        return f"must be {kind} {limits}"


# A size beyond these would not be built within any memory.
MOST_LAYERS, MOST_CHANNELS = 1_000, 1_000_000

RANGES = (
    Range(r"(en|de)coder_layers", 0, MOST_LAYERS),
    Range(r"(.*_)?(attention|conv)_heads", 1, MOST_CHANNELS),
    Range(r"(.*_)?(embed|input|output|feature|bottleneck|pooler)_dim", 1, MOST_CHANNELS),
    Range(r"(.*_)?hidden_size", 1, MOST_CHANNELS),
    Range(r"causal_window", 1),
    Range(r"max(_source|_target)?_positions", 1),
    Range(r"(.*_)?(dropout|layerdrop)", 0, 1, whole=False),
    Range(r"ffn_init_ratio", 0, 1000, whole=False),
)
CUTOFFS = ("adaptive_input_cutoff", "adaptive_softmax_cutoff")


def _named(cfg: Any) -> Dict[str, Any]:
    if OmegaConf.is_config(cfg):
        return OmegaConf.to_container(cfg, resolve=True)
    return vars(cfg) if isinstance(cfg, Namespace) else {}


def numbers(text: str) -> Optional[List[int]]:
    """The whole numbers of a list as on a command line, "100,200" or "[100, 200]"; None if it is no such list."""
    items = text.strip().strip("[]()").split(",")
    return [int(item) for item in items] if all(re.fullmatch(r"\s*\d+\s*", item) for item in items) else None


def cutoffs_fault(value: Any) -> Optional[str]:
    """What a list of cutoffs of an adaptive embedding or softmax should be, None if it is right or not given."""
    if value is None or value == "":
        return None
    sizes = numbers(value) if isinstance(value, str) else list(value) if isinstance(value, (list, tuple)) else None
    rising = sizes and all(small < large for small, large in zip([0, *sizes], sizes))
    return None if rising else "must be rising whole numbers separated by commas"


def check_ranges(cfg: Any) -> None:
    """Raise UserError for an option of a model (Namespace or DictConfig) that no model can be built with."""
    for name, value in _named(cfg).items():
        fault = cutoffs_fault(value) if name in CUTOFFS else None
        fault = fault or next((r.fault(value) for r in RANGES if re.fullmatch(r.names, name)), None)
        if fault:
            raise UserError(f"--{name.replace('_', '-')} {value}: {fault}")
