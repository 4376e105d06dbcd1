"""Names that new models, datasets and experiments cannot have, though existing ones may.

A data directory can move to a file system that does not distinguish case, or to Windows.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from itertools import chain, count
from typing import Final

from sqlalchemy import func, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from energy_flow.errors import Fault
from service.problems import Problem, invalid
from service.schemas.bodies import NAME_PATTERN, NAME_RULE

DEFAULT = "default"
"""Name of the default model, which has no row in the index."""

SERVED_DEFAULT = "energy_flow"
"""Name of the default model in the Open Inference Protocol; no other model can have it."""

MAX_BASE: Final = 48
"""Characters of a name that is made of another one; the rest is for a number."""

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
    unportable = _find_unportable(name)
    if unportable is not None:
        raise invalid([Fault(("name",), f"{unportable}; choose another name", name)])
    like = _find_differing_in_case(name, existing)
    if like is not None:
        raise Problem(
            409,
            f"the name {name!r} differs from {like!r} only in upper and lower case; choose "
            "another name",
            extra={"name": like},
        )


def find_fault(name: str, existing: Iterable[str]) -> str | None:
    """Return why something new cannot have a name that comes from a file, if it cannot.

    Args:
        name: The name.
        existing: Names of the same kind of thing.
    """
    if re.fullmatch(NAME_PATTERN, name) is None:
        return f"it {NAME_RULE}"
    unportable = _find_unportable(name)
    if unportable is not None:
        return f"it {unportable}"
    like = _find_differing_in_case(name, existing)
    return None if like is None else f"it differs from {like!r} only in upper and lower case"


def make_name(wanted: str, taken: Collection[str]) -> str:
    """Return a name that something new can have, as like a wanted one as possible.

    Args:
        wanted: A name that it cannot have.
        taken: Names of the same kind of thing.
    """
    used = {name.lower() for name in taken}
    base = re.sub(r"[^A-Za-z0-9._-]+", "-", wanted).strip("._-")[:MAX_BASE] or "unnamed"
    if _find_unportable(base) is not None:
        base = base.replace(".", "-")
    names = chain((base,), (f"{base}-{number}" for number in count(2)))
    return next(
        name for name in names if name.lower() not in used and _find_unportable(name) is None
    )


def find_like(session: Session, column: InstrumentedAttribute[str], name: str) -> list[str]:
    """Return the names of a table that equal a name but for upper and lower case.

    Args:
        session: Transaction that adds it.
        column: Column of the names.
        name: The name.
    """
    return list(session.scalars(select(column).where(func.lower(column) == name.lower())))


def _find_unportable(name: str) -> str | None:
    if name.partition(".")[0].lower() in _RESERVED:
        return "is the name of a device on Windows"
    return "ends in a dot, which Windows does not keep" if name.endswith(".") else None


def _find_differing_in_case(name: str, existing: Iterable[str]) -> str | None:
    return next((one for one in existing if one != name and one.lower() == name.lower()), None)
