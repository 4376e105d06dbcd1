"""Whether the index and the data directory are still where the server opened them.

A file that is removed or renamed stays open. What is written to it then is lost when the server
stops, or belongs to another path.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from sqlalchemy import Connection, Engine, event

from service.problems import Problem, UnusablePath
from service.store.index_file import find_index_file

ADVICE = (
    "stop the server before files are moved; put it back where it was, or stop the server and "
    "restore it from a backup"
)


class Places:
    """Paths that the server has opened; any thread may use it."""

    def __init__(self) -> None:
        self._opened: dict[Path, tuple[int, int] | None] = {}
        self._checks: list[Callable[[], Problem | None]] = []

    def add(self, path: Path, *, can_be_new: bool = False) -> None:
        """Remember what is at a path now, if there is anything.

        Args:
            path: File or folder that is open.
            can_be_new: Whether another one of that name will do.
        """
        found = _identify(path)
        if found is not None:
            self._opened[path] = None if can_be_new else found

    def add_check(self, find_loss: Callable[[], Problem | None]) -> None:
        """Add something else that must stay what it is.

        Args:
            find_loss: Returns the refusal if it does not.
        """
        self._checks.append(find_loss)

    def find_lost(self) -> Problem | None:
        """Return the refusal for the first path that has no longer what was there, if any.

        It is that of a check if all paths have.
        """
        for path, opened in list(self._opened.items()):
            try:
                found = _identify(path)
            except OSError:
                # Without permission to look it up, nothing is known.
                continue
            if found is None or opened not in (None, found):
                why = "it does not exist" if found is None else "it is another one"
                return UnusablePath(path, f"{why}, and the server still uses the former", ADVICE)
        return next((loss for check in self._checks if (loss := check()) is not None), None)


def guard_index(engine: Engine, places: Places) -> None:
    """Refuse to commit changes of an SQLite index once a path has no longer what was there.

    Args:
        engine: Engine of the index; nothing happens unless it is a file.
        places: The paths.
    """
    if find_index_file(engine.url) is None:
        return

    def check(connection: Connection) -> None:
        # A transaction that has only read has not begun for the driver.
        if getattr(connection.connection.dbapi_connection, "in_transaction", True):
            lost = places.find_lost()
            if lost is not None:
                raise lost

    event.listen(engine, "commit", check)


def _identify(path: Path) -> tuple[int, int] | None:
    """Return what identifies the file or folder at a path; ``None`` if there is none.

    Raises:
        OSError: The system does not let the process look it up.
    """
    try:
        status = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return status.st_dev, status.st_ino
