from typing import Collection, Mapping, TypeVar

from fairseq_lite.errors import UserError

Writer = TypeVar("Writer")


def require_type(module: object, types: Collection[type]) -> None:
    """Raise UserError if a module is of none of these types; a subclass may compute something else."""
    if type(module) not in types:
        known = ", ".join(kind.__name__ for kind in types)
        raise UserError(f"{type(module).__name__}: cannot be exported; what can in its place is {known}")


def writer_of(module: object, writers: Mapping[type, Writer]) -> Writer:
    """What writes modules of this very type; raises UserError if nothing does."""
    require_type(module, writers)
    return writers[type(module)]
