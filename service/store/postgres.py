"""Connections to an index in PostgreSQL: their limits, and what their failures mean.

Other databases than SQLite and PostgreSQL have none of this.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable
from typing import Any, Final

from sqlalchemy import URL, Connection, Engine, event
from sqlalchemy.engine import ExceptionContext

from service.problems import IndexUnreachable

log = logging.getLogger(__name__)

CONNECT_SECONDS: Final = 10.0
"""Most seconds of an attempt to connect."""

RECONNECT_SECONDS: Final = 0.2
"""Time between two attempts to reach a database that cannot be reached."""

# Both sides notice within 25 seconds that the other machine is gone.
_IDLE_SECONDS: Final = 10
_INTERVAL_SECONDS: Final = 5
_PROBES: Final = 3

_CHECKED: Final = "is_checked"

# Conditions of PostgreSQL's table of error codes, by code or by class of two characters.
_UNREACHABLE: Final = "the database of the index cannot be reached"
_CONDITIONS: Final = {
    "08": _UNREACHABLE,
    "57P01": _UNREACHABLE,  # It is being shut down.
    "57P02": _UNREACHABLE,  # It has crashed.
    "57P03": _UNREACHABLE,  # It is starting.
    "57P05": _UNREACHABLE,  # A connection was idle for too long.
    "25P03": _UNREACHABLE,  # Likewise, in a transaction.
    # Memory, connections, and other resources but the disk, which is 53100.
    "53": "the database of the index is out of resources",
    "25006": "the database of the index takes no changes, as a replica",
}


def is_postgres(url: URL) -> bool:
    """Return whether an index is in PostgreSQL.

    Args:
        url: URL of the index.
    """
    return url.get_backend_name() == "postgresql"


def connect_options(url: URL, lock_seconds: float) -> dict[str, Any]:
    """Return options of connections; those of the URL win.

    Args:
        url: URL of the index.
        lock_seconds: Most seconds that a statement waits for rows that others have locked.
    """
    options: dict[str, Any] = {
        "application_name": "energy-flow",
        "connect_timeout": max(2, math.ceil(min(lock_seconds, CONNECT_SECONDS))),
        "keepalives_idle": _IDLE_SECONDS,
        "keepalives_interval": _INTERVAL_SECONDS,
        "keepalives_count": _PROBES,
        "tcp_user_timeout": (_IDLE_SECONDS + _INTERVAL_SECONDS * _PROBES) * 1000,
    }
    of_session = {
        "lock_timeout": round(lock_seconds * 1000),
        "tcp_keepalives_idle": _IDLE_SECONDS,
        "tcp_keepalives_interval": _INTERVAL_SECONDS,
        "tcp_keepalives_count": _PROBES,
    }
    given = url.query.get("options", "")
    own = " ".join(f"-c {name}={value}" for name, value in of_session.items())
    # Of a setting that is there twice, the last one counts.
    ours = {name: value for name, value in options.items() if name not in url.query}
    return {**ours, "options": f"{own} {given if isinstance(given, str) else ' '.join(given)}"}


def explain_failures(engine: Engine) -> None:
    """Let an engine raise :class:`IndexUnreachable` where its database cannot be used now.

    Args:
        engine: Engine of an index in PostgreSQL.
    """
    dbapi = engine.dialect.loaded_dbapi

    def explain(context: ExceptionContext) -> BaseException | None:
        error = context.original_exception
        # After a ping that fails, the pool connects again.
        if context.is_pre_ping or not isinstance(error, dbapi.Error):
            return None
        code = getattr(error, "sqlstate", None)
        if code == "53100":
            return None
        if code is None:
            # The driver's own: it could not connect, or the connection has ended.
            is_lost = isinstance(error, dbapi.OperationalError | dbapi.InterfaceError)
            return IndexUnreachable(_UNREACHABLE, str(error)) if is_lost else None
        what = _CONDITIONS.get(code) or _CONDITIONS.get(code[:2])
        return None if what is None else IndexUnreachable(what, str(error))

    event.listen(engine, "handle_error", explain)


class ReconnectWait:
    """How long what the server does by itself waits for a database that cannot be reached.

    It does not wait before :meth:`begin`. Any thread may call any method.
    """

    def __init__(self) -> None:
        self._ends_at = -math.inf
        self._pause = threading.Event()

    def begin(self) -> None:
        """Wait from now on, without an end."""
        self._ends_at = math.inf

    def limit(self, seconds: float) -> None:
        """Wait no longer than some seconds from now, whatever waits."""
        self._ends_at = min(self._ends_at, time.monotonic() + seconds)

    def pause(self) -> bool:
        """Wait for a moment, and return true; return false at once when the time is over."""
        if time.monotonic() >= self._ends_at:
            return False
        self._pause.wait(RECONNECT_SECONDS)
        return True

    def apply(self, engine: Engine) -> None:
        """Let an engine connect again until it succeeds or the time is over.

        Args:
            engine: Engine of an index in PostgreSQL.
        """

        def connect(dialect: Any, _record: Any, arguments: Any, options: Any) -> Any:
            is_logged = False
            while True:
                try:
                    return dialect.connect(*arguments, **options)
                except dialect.loaded_dbapi.OperationalError as error:
                    if not self.pause():
                        raise
                    if not is_logged:
                        log.warning("waiting for the database of the index: %s", error)
                    is_logged = True

        event.listen(engine, "do_connect", connect)


def check_writes(engine: Engine, check: Callable[[Connection], None]) -> None:
    """Check each transaction of an engine before its first change of rows.

    Args:
        engine: Engine of the index.
        check: Function that raises if the transaction may change nothing.
    """

    def begin(connection: Connection) -> None:
        connection.info[_CHECKED] = False

    def check_first(
        connection: Connection, _cursor: Any, _text: Any, _values: Any, context: Any, _many: Any
    ) -> None:
        is_change = context is not None and (
            context.isinsert or context.isupdate or context.isdelete
        )
        if is_change and not connection.info.get(_CHECKED):
            connection.info[_CHECKED] = True
            check(connection)

    event.listen(engine, "begin", begin)
    event.listen(engine, "before_cursor_execute", check_first)
