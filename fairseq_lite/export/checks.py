from typing import Sequence

from fairseq_lite.errors import UserError


def require_type(module: object, types: Sequence[type]) -> None:
    """Raise UserError if a module is of none of these types; a subclass may compute something else."""
    if type(module) not in types:
        known = ", ".join(kind.__name__ for kind in types)
        raise UserError(f"{type(module).__name__}: cannot be exported; what can in its place is {known}")
