"""``Idempotency-Key``: a request that is sent again creates nothing a second time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

from sqlalchemy import select

from service.problems import Problem
from service.store.database import Database
from service.store.tables import KeyedRow

Row = TypeVar("Row", bound=KeyedRow)


@dataclass(frozen=True, slots=True)
class IdempotencyKey:
    """The ``Idempotency-Key`` of a request.

    Attributes:
        key: The caller's key.
        digest: SHA-256 of the request; a repetition has the same one.
    """

    key: str
    digest: str

    def write_to(self, row: KeyedRow) -> None:
        """Set the columns of the row that the request creates."""
        row.idempotency_key, row.idempotency_digest = self.key, self.digest


def find_created(
    database: Database, table: type[Row], idempotency: IdempotencyKey | None
) -> Row | None:
    """Return the row that an earlier request with the same key created, if any.

    Args:
        database: The index.
        table: Table of the row.
        idempotency: Key of the request; ``None`` for a request without one.

    Raises:
        Problem: 422, the key was used for another request.
    """
    row = None if idempotency is None else _find(database, table, idempotency.key)
    if row is not None and idempotency is not None and row.idempotency_digest != idempotency.digest:
        message = "this Idempotency-Key was used for another request; send this one with a new key"
        raise Problem(422, message)
    return row


def has_created(database: Database, row: KeyedRow) -> bool:
    """Return whether the table of a row has another one with the same key.

    Args:
        database: The index.
        row: Row that could not be added.
    """
    key = row.idempotency_key
    return key is not None and _find(database, type(row), key) is not None


def _find(database: Database, table: type[Row], key: str) -> Row | None:
    with database.session() as session:
        return session.scalars(select(table).where(table.idempotency_key == key)).one_or_none()
