"""``StoredKeys``: the API keys of the index."""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Sequence
from typing import Final

from sqlalchemy import inspect, select, update

from energy_flow.choices import KeyRole
from service.schemas.bodies import NAME_PATTERN, NAME_RULE
from service.store.database import Database
from service.store.keys.secret import digest_secret, make_secret
from service.store.tables import ApiKeyRow

_NAME: Final = re.compile(NAME_PATTERN)
_KEYS: Final = ApiKeyRow.metadata.tables[ApiKeyRow.__tablename__]
_ACTIVE: Final = select(_KEYS).where(_KEYS.c.revoked_at.is_(None))


class KeyNameError(ValueError):
    """A new key cannot have the name."""


class StoredKeys:
    """The table of API keys.

    Rows that it returns are detached. Methods block; call them from any thread but the event
    loop's.

    Args:
        database: The index.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    @property
    def exists(self) -> bool:
        """Whether the index has the table; one of an earlier version has not."""
        with self._database.connection() as connection:
            return inspect(connection).has_table(ApiKeyRow.__tablename__)

    def create(self, name: str, role: KeyRole) -> tuple[ApiKeyRow, str]:
        """Create a key.

        Args:
            name: Its name.
            role: What it allows.

        Returns:
            Its row, and the key, which cannot be read again.

        Raises:
            KeyNameError: The name is not allowed, or that of another key.
        """
        if not _NAME.fullmatch(name):
            raise KeyNameError(f"the name {name!r} {NAME_RULE}")
        secret = make_secret()
        row = ApiKeyRow(
            id=secrets.token_hex(4),
            name=name,
            role=role,
            digest=digest_secret(secret.encode()).hex(),
            created_at=time.time(),
            revoked_at=None,
        )
        with self._database.session(durable=True) as session:
            if session.execute(_ACTIVE.where(_KEYS.c.name == name)).first() is not None:
                raise KeyNameError(
                    f"there is a key {name!r} already; choose another name, or revoke it first"
                )
            session.add(row)
        return row, secret

    def find_all(self, *, revoked: bool) -> Sequence[ApiKeyRow]:
        """Return the keys, newest first.

        Args:
            revoked: Whether to return those that are revoked as well.
        """
        query = select(ApiKeyRow).order_by(ApiKeyRow.created_at.desc())
        if not revoked:
            query = query.where(ApiKeyRow.revoked_at.is_(None))
        with self._database.session() as session:
            return session.scalars(query).all()

    def revoke(self, key_id: str) -> None:
        """Revoke a key; return once that is on the disk.

        Args:
            key_id: Its id.
        """
        change = update(_KEYS).where(_KEYS.c.id == key_id, _KEYS.c.revoked_at.is_(None))
        with self._database.connection(durable=True) as connection:
            connection.execute(change.values(revoked_at=time.time()))
