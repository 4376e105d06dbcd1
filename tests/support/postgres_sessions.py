"""Sessions of a database of PostgreSQL beside those of a server."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from sqlalchemy import Connection, create_engine, text

HOLDERS: Final = (
    "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND granted AND database = "
    "(SELECT oid FROM pg_database WHERE datname = current_database())"
)
"""Sessions with an advisory lock: that of the active server."""


@contextmanager
def session_of(url: str) -> Iterator[Connection]:
    """Open a session until the end of the block, in which each statement is a transaction."""
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    try:
        with engine.connect() as connection:
            yield connection
    finally:
        engine.dispose()


def execute(url: str, statement: str, **values: Any) -> None:
    """Execute a statement."""
    with session_of(url) as session:
        session.execute(text(statement), values)


def end_lock(url: str) -> None:
    """End the session of the active server's lock, as a fault of the network does."""
    execute(url, f"SELECT pg_terminate_backend(pid) FROM ({HOLDERS}) AS holders")
