"""The database: opened, brought up to date, and its sessions."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson
from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.orm import Session

MIGRATIONS = Path(__file__).parent / "migrations"


class Database:
    """Transactions on an index that has been brought up to date.

    Every method may be called from any thread but the event loop's.
    """

    def __init__(self, url: str) -> None:
        self._engine = _open(url, "NORMAL")
        self._durable = self._engine
        if self._engine.dialect.name == "sqlite":
            self._durable = _open(url, "FULL")
        migrate(self._engine)

    @contextmanager
    def session(self, *, durable: bool = False) -> Iterator[Session]:
        """One transaction: committed at the end, or rolled back when an exception leaves.

        Args:
            durable: it survives a power cut, which costs a write to the disk. Without it SQLite may
                forget the last moments, though never half of a transaction.
        """
        engine = self._durable if durable else self._engine
        with Session(engine, expire_on_commit=False) as session, session.begin():
            yield session

    @contextmanager
    def connection(self, *, durable: bool = False) -> Iterator[Connection]:
        """One transaction of plain statements, likewise."""
        with (self._durable if durable else self._engine).begin() as connection:
            yield connection

    def close(self) -> None:
        """Closes the pools of connections."""
        self._engine.dispose()
        self._durable.dispose()


def migrate(engine: Engine) -> None:
    """Brings the tables to the newest version; does nothing where they are."""
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def _to_json(value: Any) -> str:
    return orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY).decode()


def _open(url: str, synchronous: str) -> Engine:
    engine = create_engine(
        url, json_serializer=_to_json, json_deserializer=orjson.loads, pool_pre_ping=True
    )
    pragmas = (
        "journal_mode = WAL",  # readers never wait for the writer
        f"synchronous = {synchronous}",
        # Another writer is soon done, unless the disk is very busy; to wait is better than to fail.
        "busy_timeout = 60000",
    )

    def set_pragmas(connection: Any, _record: Any) -> None:
        for pragma in pragmas:
            connection.execute(f"PRAGMA {pragma}").close()

    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", set_pragmas)
    return engine
