"""What an exported folder says of itself, in config.json and in the metadata of its graphs."""

from __future__ import annotations

import dataclasses
import json
from typing import Any, Dict, Iterable, List, Optional

from fairseq_lite.version import VERSION

TRANSLATION, LANGUAGE_MODEL, CLASSIFICATION = "translation", "language_model", "classification"
FORMAT = 1
# The first onnxruntime with all operators that the graphs are written with, and with the one that reads 4-bit rows.
ONNXRUNTIME, ONNXRUNTIME_FOUR_BITS = "1.20", "1.23"
# The first onnxruntime with an operator that only some models have.
SINCE = {"LinearAttention": "1.26"}


@dataclasses.dataclass
class Config:
    """The keys of config.json; those of a graph's metadata are the same without `files`.

    Args:
        kind: TRANSLATION, LANGUAGE_MODEL or CLASSIFICATION
        bits: bits a weight that the export was asked for: 32, 8 or 4
        portable: whether the graphs consist of standard operators alone
        bos, pad, eos, unk: ids, the same in all dictionaries of fairseq's
        add_bos: whether text starts with bos: a language model of --add-bos-token, a classifier of --init-token
        max_source, max_target: positions that the model takes, None where any
        subwords: None where words are split at blanks, "sentencepiece" or "wordpiece"
        lower_case: whether WordPiece lowers the case and strips accents first
        options: defaults of the graph's inputs that the export chose
        states: of step.onnx: name, shape, dtype and whether a row or a sentence has one
        shortlist: most target words for a source word, None where every word may appear
        mult_adds: multiply-adds for 30 source and 30 target tokens, None where an operator is not counted
        onnxruntime: the least version that runs the graphs, at first what `bits` and `portable` need
        files: SHA-256 of each file of the folder but config.json
    """

    kind: str
    architecture: str
    bits: int
    portable: bool
    add_bos: bool = False
    max_source: Optional[int] = None
    max_target: Optional[int] = None
    subwords: Optional[str] = None
    lower_case: bool = False
    options: Dict[str, Any] = dataclasses.field(default_factory=dict)
    states: List[Dict[str, Any]] = dataclasses.field(default_factory=list)
    shortlist: Optional[int] = None
    mult_adds: Optional[int] = None
    bos: int = 0
    pad: int = 1
    eos: int = 2
    unk: int = 3
    format: int = FORMAT
    onnxruntime: str = ""
    fairseq_lite: str = VERSION
    files: Dict[str, str] = dataclasses.field(default_factory=dict)

    def __post_init__(self):
        four_bits = self.bits == 4 and not self.portable
        self.onnxruntime = self.onnxruntime or (ONNXRUNTIME_FOUR_BITS if four_bits else ONNXRUNTIME)

    def require(self, operators: Iterable[str]) -> None:
        """Raise the least onnxruntime to one that has the operators of a graph."""
        needed = [self.onnxruntime, *(SINCE[operator] for operator in operators if operator in SINCE)]
        self.onnxruntime = max(needed, key=lambda version: [int(number) for number in version.split(".")])

    def metadata(self) -> Dict[str, str]:
        """What each graph carries: every value as JSON."""
        return {key: json.dumps(value) for key, value in vars(self).items() if key != "files"}

    def text(self) -> str:
        """config.json."""
        return json.dumps(vars(self), indent=2, ensure_ascii=False) + "\n"
