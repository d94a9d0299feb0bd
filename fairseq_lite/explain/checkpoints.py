"""Why a file is no checkpoint, or not one of the model that it is loaded into."""

from __future__ import annotations

import os
import re
from typing import List, NamedTuple, Optional

from fairseq_lite.explain.system import system_failure
from fairseq_lite.explain.traces import first_line, text

SHOWN = 3


def unknown_architecture(path: str, name: Optional[str]) -> str:
    """Say that neither fairseq nor this plugin has the architecture of a file."""
    return (
        f"{path}: architecture {name!r} is not known to fairseq or this plugin; "
        "checkpoints of the method's authors go through `fairseq-lite convert` first"
    )


def _refused_object(message: str) -> Optional[str]:
    """What torch.load refuses to unpickle, by its name."""
    refused = re.search(r"(?:[Uu]nsupported (?:global: )?GLOBAL|Unsupported class|but got <class) '?([\w.]+)", message)
    return refused[1] if refused else None


def unreadable_checkpoint(path: str, error: BaseException) -> str:
    """Say why a file could not be read as a checkpoint."""
    failure = system_failure(error)
    if failure:
        return failure if path in failure else f"{path}: {failure}"
    if os.path.isdir(path):
        return f"{path}: is a folder; give the path of a checkpoint (.pt)"
    if not os.path.isfile(path):
        return f"{path}: no such file; give the path of a checkpoint (.pt)"
    refused = _refused_object(text(error))
    if refused:
        return f"{path}: unsafe to load, it holds {refused} and not only tensors and options"
    lacking = re.fullmatch(r"[A-Za-z_]\w*", text(error)) if isinstance(error, KeyError) else None
    if lacking:
        return f"{path}: the checkpoint has no {lacking[0]!r}; give one that fairseq-train wrote"
    # torch's refusal of what is not weights-only explains itself at length
    reason = "no archive of torch" if "Weights only load failed" in text(error) else first_line(error, 120)
    size = os.path.getsize(path)
    return f"{path}: {size} bytes that are not a readable checkpoint, truncated or of another kind ({reason})"


class Differences(NamedTuple):
    """How a state dict differs from the model: names that it lacks, names that it has too many, other shapes."""

    missing: List[str]
    unexpected: List[str]
    resized: List[str]

    @classmethod
    def of(cls, message: str) -> Differences:
        """Read them out of torch's message for load_state_dict."""
        lists = {
            kind: re.findall(r'"([^"]+)"', found[1]) if found else []
            for kind in ("Missing", "Unexpected")
            for found in [re.search(kind + r" key\(s\) in state_dict: (.*)", message)]
        }
        pattern = r"size mismatch for (\S+): .*?torch\.Size\(\[(.*?)\]\) .*?torch\.Size\(\[(.*?)\]\)"
        shapes = [f"{name} is [{there}] there and [{here}] here" for name, there, here in re.findall(pattern, message)]
        return cls(lists["Missing"], lists["Unexpected"], shapes)

    def told(self) -> List[str]:
        missing = [f"{name} is missing there" for name in self.missing]
        return [*self.resized, *missing, *(f"{name} is there alone" for name in self.unexpected)]

    def reason(self) -> str:
        """What is likely to be wrong."""
        if not self.missing and not self.unexpected and all("embed" in one or "output" in one for one in self.resized):
            return "the dictionary is not the one that it was trained with"
        if not self.missing and not self.unexpected:
            return "other sizes or other dictionaries than it was trained with"
        return "another architecture, number of layers or dictionaries than it was trained with"


def misfit(path: str, message: str) -> str:
    """Say in one line how many weights of a file do not fit a model, the first three, and why."""
    differences = Differences.of(message)
    told = differences.told()
    if not told:
        return f"{path}: its weights do not fit the model: {' '.join(message.split())[:200]}"
    more = f" and {len(told) - SHOWN} more" if len(told) > SHOWN else ""
    shown = "; ".join(told[:SHOWN])
    return f"{path}: {len(told)} weights do not fit the model ({differences.reason()}): {shown}{more}"
