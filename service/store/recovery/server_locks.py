"""``ServerLocks``: the locks of a server, which it takes at once or waits for as standby."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Final

from sqlalchemy import URL

from service.problems import IndexUnreachable, Problem
from service.store.database import Database
from service.store.recovery.errors import DataDirInUseError
from service.store.recovery.lock import IndexLock, lock_data_dir
from service.store.recovery.server_lock import ServerLock, make_index_lock

log = logging.getLogger(__name__)

STANDBY_SECONDS: Final = 0.25
"""How often a standby server looks whether it can become active."""

_ADVICE: Final = "use that server, or choose another {} for this one"


class ServerLocks:
    """The locks of a data directory and its index, from :meth:`open` to :meth:`close`.

    Attributes:
        standby_reason: Why the server is standby; ``None`` unless it is.

    Args:
        data_dir: The data directory.
        url: URL of the index.
    """

    def __init__(self, data_dir: Path, url: URL) -> None:
        self.standby_reason: str | None = None
        self._data_dir = data_dir
        self._url = url
        self._held: ExitStack | None = None
        self._index_lock: IndexLock | ServerLock | None = None
        self._stopping = asyncio.Event()

    @property
    def is_open(self) -> bool:
        """Whether :meth:`open` has succeeded."""
        return self._held is not None

    def open(self) -> None:
        """Create the data directory, and lock it and its index.

        With an index in PostgreSQL, only :meth:`wait_until_active` takes locks.

        Raises:
            DataDirInUseError: Another server uses the data directory or the index.
            OSError: The data directory cannot be used.
        """
        self._data_dir.mkdir(parents=True, exist_ok=True)
        index_lock = make_index_lock(self._url, _ADVICE.format("--database-url"))
        with ExitStack() as held:
            if isinstance(index_lock, ServerLock):
                held.callback(index_lock.close)
            else:
                self._lock_directory(held)
                held.enter_context(index_lock)
            self._index_lock = index_lock
            self._held = held.pop_all()

    async def wait_until_active(self, on_standby: Callable[[], None]) -> bool:
        """Wait until no other server has a lock, and return true; false after :meth:`stop`.

        Args:
            on_standby: Called each time another server has one.

        Raises:
            IndexUnreachable: The database could not be reached at the first attempt.
            OSError: The data directory cannot be used.
            sqlalchemy.exc.SQLAlchemyError: The index cannot be used.
        """
        if not isinstance(self._index_lock, ServerLock):
            return True
        while not self._stopping.is_set():
            try:
                reason = await asyncio.to_thread(self._find_obstacle, self._index_lock)
            except IndexUnreachable as error:
                if self.standby_reason is None:
                    raise
                reason = error.detail
            if reason is None:
                if self.standby_reason is not None:
                    log.info("standby no longer: the server becomes active")
                self.standby_reason = None
                return True
            if reason != self.standby_reason:
                log.info("standby: %s", reason)
            self.standby_reason = reason
            on_standby()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), STANDBY_SECONDS)
        return False

    def guard(self, database: Database, on_superseded: Callable[[], None]) -> None:
        """Let an index change only while its lock is held.

        Args:
            database: The index.
            on_superseded: Called by a thread once another server has become active.
        """
        if self._index_lock is None:
            return
        database.places.add_check(self.find_loss)
        if isinstance(self._index_lock, ServerLock):
            self._index_lock.watch(database.index_id, on_superseded, database.look_for_room)

    def find_loss(self) -> Problem | None:
        """Return why nothing may be changed, if the lock of the index is lost."""
        return None if self._index_lock is None else self._index_lock.find_loss()

    def stop(self) -> None:
        """Wait no longer; call it on the event loop."""
        self._stopping.set()

    def close(self) -> None:
        """Release the locks."""
        if self._held is not None:
            self._held.close()

    def _find_obstacle(self, index_lock: ServerLock) -> str | None:
        """Lock an index in PostgreSQL and then the data directory; return why that fails."""
        assert self._held is not None
        if not index_lock.take():
            return "another server is active"
        try:
            self._lock_directory(self._held)
        except DataDirInUseError:
            return "another server uses the data directory"
        return None

    def _lock_directory(self, held: ExitStack) -> None:
        held.enter_context(lock_data_dir(self._data_dir, _ADVICE.format("--data-dir")))
