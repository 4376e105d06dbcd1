"""The database of the index: connections, migrations and transactions."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson
from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.orm import Session

from service.json_encoding import to_json
from service.problems import damaged_index

MIGRATIONS = Path(__file__).parent / "migrations"


class Database:
    """The index, migrated to the newest version.

    Methods block; call them from any thread but the event loop's.

    Args:
        url: URL of the database, as SQLAlchemy takes it.
    """

    def __init__(self, url: str) -> None:
        self._engine = _open(url, "NORMAL")
        self._durable = self._engine
        if self._engine.dialect.name == "sqlite":
            self._durable = _open(url, "FULL")
        migrate(self._engine)

    @contextmanager
    def session(self, *, durable: bool = False) -> Iterator[Session]:
        """Open a transaction that is committed at the end, or rolled back after an exception.

        Args:
            durable: Whether to wait until the transaction is on the disk. Without it SQLite can
                lose the last transactions in a power cut, though never a part of one.

        Yields:
            A session of the ORM.
        """
        engine = self._durable if durable else self._engine
        with Session(engine, expire_on_commit=False) as session, session.begin():
            yield session

    @contextmanager
    def connection(self, *, durable: bool = False) -> Iterator[Connection]:
        """Open a transaction for plain statements, as :meth:`session` does.

        Args:
            durable: Whether to wait until the transaction is on the disk.

        Yields:
            A connection.
        """
        with (self._durable if durable else self._engine).begin() as connection:
            yield connection

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()
        self._durable.dispose()


def migrate(engine: Engine) -> None:
    """Migrate the tables to the newest version."""
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def _parse_json(text: str) -> Any:
    """Return the value of a column of JSON.

    Raises:
        Problem: 503, the index is damaged.
    """
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise damaged_index(f"a value is no JSON ({error})") from error


def _open(url: str, synchronous: str) -> Engine:
    engine = create_engine(
        url,
        json_serializer=lambda value: to_json(value).decode(),
        json_deserializer=_parse_json,
        pool_pre_ping=True,
    )
    pragmas = (
        "journal_mode = WAL",  # Readers never wait for the writer.
        f"synchronous = {synchronous}",
        # Milliseconds to wait for another writer before an error.
        "busy_timeout = 60000",
    )

    def set_pragmas(connection: Any, _record: Any) -> None:
        for pragma in pragmas:
            connection.execute(f"PRAGMA {pragma}").close()

    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", set_pragmas)
    return engine
