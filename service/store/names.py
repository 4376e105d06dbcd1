"""Names that new models, datasets and experiments cannot have, though existing ones may.

A data directory can move to a file system that does not distinguish case, or to Windows.
"""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import func, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from energy_flow.errors import Fault
from service.problems import Problem, invalid

DEFAULT = "default"
"""Name of the default model, which has no row in the index."""

FIRST_DEFAULT = "dictionary"
"""Name of the model of Energy Flow that is the default one of a new data directory."""

SERVED_DEFAULT = "energy_flow"
"""Name of the default model in the Open Inference Protocol; no other model can have it."""

_RESERVED = frozenset(
    {"con", "prn", "aux", "nul"}
    | {f"{device}{number}" for device in ("com", "lpt") for number in range(1, 10)}
)
"""Names of devices on Windows, also with a suffix."""


def check_new_name(name: str, existing: Iterable[str]) -> None:
    """Refuse a name for something new.

    Args:
        name: The new name.
        existing: Names of the same kind of thing.

    Raises:
        Problem: 409, one that exists differs from it only in case; 422, it is reserved on Windows.
    """
    _check_portable(name)
    for other in existing:
        if other != name and other.lower() == name.lower():
            raise Problem(
                409,
                f"the name {name!r} differs from {other!r} only in upper and lower case; choose "
                "another name",
                extra={"name": other},
            )


def find_like(session: Session, column: InstrumentedAttribute[str], name: str) -> list[str]:
    """Return the names of a table that equal a name but for upper and lower case.

    Args:
        session: Transaction that adds it.
        column: Column of the names.
        name: The name.
    """
    return list(session.scalars(select(column).where(func.lower(column) == name.lower())))


def _check_portable(name: str) -> None:
    if name.partition(".")[0].lower() in _RESERVED:
        message = "is the name of a device on Windows; choose another name"
    elif name.endswith("."):
        message = "ends in a dot, which Windows does not keep; choose another name"
    else:
        return
    raise invalid([Fault(("name",), message, name)])
