"""Ids that are given by their beginning."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import ColumnElement, and_, select
from sqlalchemy.orm import Session

from service.problems import Problem

MIN_CHARACTERS: Final = 6
"""Fewest characters of the beginning of an id."""

_ID_CHARACTERS: Final = 32
_DIGITS: Final = frozenset("0123456789abcdef")
_BEHIND_DIGITS: Final = "g"

MAX_CANDIDATES: Final = 5
"""Most ids that a refusal names."""


def is_prefix(text: str) -> bool:
    """Return whether a text can be the beginning of an id."""
    return MIN_CHARACTERS <= len(text) < _ID_CHARACTERS and _DIGITS.issuperset(text)


def begins_with(column: Any, prefix: str) -> ColumnElement[bool]:
    """Return the condition that an id begins with a prefix, for which its index is used.

    Args:
        column: Column of the ids.
        prefix: Beginning of an id.
    """
    return and_(column >= prefix, column < prefix + _BEHIND_DIGITS)


def find_ids(session: Session, column: Any, prefix: str) -> list[str]:
    """Return the ids that begin with a prefix, in their order.

    Args:
        session: A transaction.
        column: Column of the ids.
        prefix: Beginning of an id.

    Returns:
        The ids, at most one more than a refusal names.
    """
    query = select(column).where(begins_with(column, prefix)).order_by(column)
    return list(session.scalars(query.limit(MAX_CANDIDATES + 1)))


def choose_id(what: str, prefix: str, ids: Sequence[str]) -> str | None:
    """Return the id that a prefix stands for; ``None`` if there is none.

    Args:
        what: Kind of what has the id, for the message.
        prefix: Beginning of an id.
        ids: Ids that begin with it; up to :data:`MAX_CANDIDATES` and one more.

    Raises:
        Problem: 409, several ids begin with it; it names them.
    """
    if prefix in ids:
        return prefix
    if len(ids) <= 1:
        return ids[0] if ids else None
    candidates = list(ids[:MAX_CANDIDATES])
    others = " and others" if len(ids) > MAX_CANDIDATES else ""
    message = f"several {what}s begin with {prefix!r}: {', '.join(candidates)}{others}"
    raise Problem(
        409,
        f"{message}; give more characters of the id",
        title="Ambiguous id",
        extra={"candidates": candidates},
    )
