"""The file of an SQLite index, and why it cannot be used, which SQLite leaves out."""

from __future__ import annotations

import os
import sqlite3
import tempfile
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

from sqlalchemy import URL, Engine, event
from sqlalchemy.engine import ExceptionContext

from service.problems import Problem, UnusablePath, damaged_index, find_unusable_path
from service.store import postgres
from service.store.folders import explain_refusal

# Kinds of SQLite's errors that have many causes.
_UNCLEAR: Final = frozenset(
    (
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_PERM,
        sqlite3.SQLITE_READONLY,
    )
)

_PROBE_BYTES: Final = 64 * 1024
"""As many as SQLite writes at once at most when it opens an index."""


def find_index_file(url: URL) -> Path | None:
    """Return the path of an index; ``None`` for one in memory and one of another database.

    Args:
        url: URL of the index.
    """
    name = url.database
    if url.get_backend_name() != "sqlite" or name in (None, "", ":memory:"):
        return None
    assert name is not None
    if name.startswith("file:") and "uri" in url.query:
        if url.query.get("mode") == "memory":
            return None
        name = unquote(urlsplit(name).path)
        return None if name in ("", ":memory:") else Path(name)
    return Path(name)


def is_missing(url: URL) -> bool:
    """Return whether an index is a file that does not exist.

    Args:
        url: URL of the index.

    Raises:
        OSError: The file cannot be looked up.
    """
    path = find_index_file(url)
    return path is not None and not path.exists()


def show_url(url: URL) -> str:
    """Return what identifies an index for people: its path, or its URL without a password.

    Args:
        url: URL of the index.
    """
    path = find_index_file(url)
    return url.render_as_string(hide_password=True) if path is None else str(path)


def explain_failures(engine: Engine) -> None:
    """Let an engine raise what the system reports, where SQLite reports less.

    Its errors become an :class:`UnusablePath`, or the ``OSError`` of a full disk. Those of
    PostgreSQL can become an :class:`~service.problems.IndexUnreachable`.

    Args:
        engine: Engine of an index.
    """
    if postgres.is_postgres(engine.url):
        postgres.explain_failures(engine)
    path = find_index_file(engine.url)
    if path is None:
        return

    def explain(context: ExceptionContext) -> BaseException | None:
        code = getattr(context.original_exception, "sqlite_errorcode", None)
        # Of the extended code, the lowest byte is the kind of the error.
        if code is None or code & 0xFF not in _UNCLEAR or code == sqlite3.SQLITE_IOERR_SHMSIZE:
            return None
        return _find_obstacle(path)

    event.listen(engine, "handle_error", explain)


def _find_obstacle(index: Path) -> Problem | OSError | None:
    """Return why the system lets nobody use an index, if it does not.

    The file itself is not opened: closing it would release the locks of SQLite in this process.
    """
    # Methods of Path raise if a folder may not be searched.
    if os.access(index, os.F_OK) and index.is_dir():
        return UnusablePath(index, "it is a folder", "move it away, or correct the path")
    for path in (index, *(index.with_name(index.name + end) for end in ("-wal", "-shm"))):
        if os.access(path, os.F_OK) and not os.access(path, os.R_OK | os.W_OK):
            return find_unusable_path(explain_refusal(path))
    try:
        with tempfile.TemporaryFile(dir=index.parent) as probe:
            probe.write(bytes(_PROBE_BYTES))
            probe.flush()
            os.fsync(probe.fileno())
    except FileNotFoundError:
        advice = "make it again, or correct the path"
        return UnusablePath(index.parent, "it does not exist", advice)
    except OSError as error:
        # Of no use to a reader is the name of the probe.
        error.filename = str(index)
        return find_unusable_path(error) or error
    is_there = os.access(index, os.F_OK)
    return None if is_there else damaged_index(f"its file {index} does not exist")
