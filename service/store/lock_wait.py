"""``LockWait``: how long connections of requests wait for an index that others lock."""

from __future__ import annotations

import sqlite3
import time
from typing import Any, Final

from sqlalchemy import Engine, event
from sqlalchemy.engine.interfaces import ExceptionContext

from service.problems import is_index_locked

LOCKED_SECONDS: Final = 1.0
"""How long an index counts as locked after a request has waited for it in vain."""

SHORT_SECONDS: Final = 0.02
"""How long requests wait then: otherwise each would wait for all that wait before it."""


class LockWait:
    """How long connections of requests wait.

    Args:
        seconds: Most seconds that a request waits.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._locked_at = -LOCKED_SECONDS

    def limit(self, engine: Engine) -> None:
        """Let the connections of an engine wait no longer than that.

        Args:
            engine: Engine of SQLite.
        """
        event.listen(engine, "checkout", self._set_wait)
        event.listen(engine, "handle_error", self._note_error)

    def _set_wait(self, connection: sqlite3.Connection, record: Any, _proxy: Any) -> None:
        is_locked = time.monotonic() - self._locked_at < LOCKED_SECONDS
        seconds = min(SHORT_SECONDS, self._seconds) if is_locked else self._seconds
        if record.info.get("seconds") != seconds:
            record.info["seconds"] = seconds
            connection.execute(f"PRAGMA busy_timeout = {seconds * 1e3:.0f}").close()

    def _note_error(self, context: ExceptionContext) -> None:
        if is_index_locked(context.original_exception):
            self._locked_at = time.monotonic()
