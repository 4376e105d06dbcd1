"""``ServerLock``: the lock of an index in PostgreSQL, by which one server is active.

It is an advisory lock of a connection that does nothing else. PostgreSQL releases it when the
connection ends, also if the server is killed or its machine is gone. A server that has lost the
connection changes nothing until it has the lock again, and nothing any more if another server had
it meanwhile: that one has changed the id of the index.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable
from enum import Enum, auto
from typing import Final

from sqlalchemy import URL, Connection, bindparam, create_engine, select, text
from sqlalchemy.pool import NullPool

from service.problems import IndexUnreachable, Problem, unavailable
from service.store import postgres
from service.store.database import SUPERSEDED
from service.store.index_file import show_url
from service.store.recovery.errors import DataDirInUseError
from service.store.recovery.lock import IndexLock
from service.store.tables import IdentityRow

log = logging.getLogger(__name__)

LOOK_SECONDS: Final = 1.0
"""How often the active server looks whether it has the lock."""

ANSWER_SECONDS: Final = 5.0
"""Most seconds of an attempt to connect."""

# Schemas of a database are indexes of their own. The number is arbitrary.
_TRY: Final = text(
    "SELECT pg_try_advisory_lock(:space + oid::bigint) FROM pg_namespace "
    "WHERE nspname = current_schema()"
).bindparams(bindparam("space", 0x456E_466C << 32))


def make_index_lock(url: URL, advice: str) -> IndexLock | ServerLock:
    """Return the lock of an index, which is taken at the start of a block.

    Args:
        url: URL of the index.
        advice: What to do if another process has the lock.
    """
    lock = ServerLock if postgres.is_postgres(url) else IndexLock
    return lock(url, advice)


class _Hold(Enum):
    """What is known of the lock."""

    HELD = auto()
    UNKNOWN = auto()
    """The connection has ended."""
    SUPERSEDED = auto()
    """Another server has it, or had it."""


class ServerLock:
    """The lock of an index in PostgreSQL, until the end of a block or :meth:`close`.

    Args:
        url: URL of the index.
        advice: What to do if another process has the lock.
    """

    def __init__(self, url: URL, advice: str) -> None:
        self._message = f"another server uses the index {show_url(url)}; {advice}"
        self._engine = create_engine(
            url,
            poolclass=NullPool,
            isolation_level="AUTOCOMMIT",
            connect_args=postgres.connect_options(url, ANSWER_SECONDS),
        )
        postgres.explain_failures(self._engine)
        self._connection: Connection | None = None
        self._hold = _Hold.UNKNOWN
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> ServerLock:
        """Take the lock.

        Raises:
            DataDirInUseError: Another process has the lock.
            IndexUnreachable: The database cannot be reached.
            sqlalchemy.exc.SQLAlchemyError: The index cannot be used.
        """
        if not self.take():
            self.close()
            raise DataDirInUseError(self._message)
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def take(self) -> bool:
        """Take the lock, or look whether it is still held; return whether it is.

        Raises:
            IndexUnreachable: The database cannot be reached.
            sqlalchemy.exc.SQLAlchemyError: The index cannot be used.
        """
        try:
            if self._connection is None:
                self._connection = self._engine.connect()
            elif self._hold is _Hold.HELD:
                self._connection.execute(text("SELECT 1"))
                return True
            if self._connection.scalar(_TRY):
                self._hold = _Hold.HELD
        except BaseException:
            self._disconnect()
            raise
        return self._hold is _Hold.HELD

    def watch(
        self, index_id: str, on_superseded: Callable[[], None], look: Callable[[], None]
    ) -> None:
        """Start the thread that looks whether the lock is held, and takes it again.

        Args:
            index_id: Id of the index while no other server has had the lock.
            on_superseded: Called once another server has the lock or had it.
            look: Called each time while the database can be reached.
        """
        self._thread = threading.Thread(
            target=self._work,
            args=(index_id, on_superseded, look),
            name="server-lock",
            daemon=True,
        )
        self._thread.start()

    def find_loss(self) -> Problem | None:
        """Return why nothing may be changed, if the lock is not known to be held."""
        match self._hold:
            case _Hold.HELD:
                return None
            case _Hold.UNKNOWN:
                return IndexUnreachable(
                    "the connection to the database of the index was lost", "it is made again"
                )
            case _Hold.SUPERSEDED:
                return unavailable(SUPERSEDED)

    def close(self) -> None:
        """End the thread, and release the lock."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join()
        if self._connection is not None:
            # PostgreSQL notices the end of a connection a moment later.
            with contextlib.suppress(Exception):
                self._connection.execute(text("SELECT pg_advisory_unlock_all()"))
        self._disconnect()
        self._engine.dispose()

    def _work(
        self, index_id: str, on_superseded: Callable[[], None], look: Callable[[], None]
    ) -> None:
        while not self._stopping.wait(LOOK_SECONDS):
            was_held = self._hold is _Hold.HELD
            try:
                if not self.take() or self._read_id() != index_id:
                    break
            except Exception as error:
                self._disconnect()
                if was_held:
                    log.warning("nothing is stored: the lock of the index is lost: %s", error)
                continue
            if not was_held:
                log.warning("the lock of the index is held again")
            look()
        else:
            return
        self._hold = _Hold.SUPERSEDED
        log.error("nothing is stored any more: %s", SUPERSEDED)
        on_superseded()

    def _read_id(self) -> str | None:
        assert self._connection is not None
        return self._connection.scalar(select(IdentityRow.id))

    def _disconnect(self) -> None:
        if self._hold is not _Hold.SUPERSEDED:
            self._hold = _Hold.UNKNOWN
        connection, self._connection = self._connection, None
        if connection is not None:
            # It may have ended already.
            with contextlib.suppress(Exception):
                connection.close()
