"""The id that a data directory and its index share, so that neither is used with another one.

Each start gives both a new id. Of two copies of a directory that use one index, the one that was
started last goes on, and the other is refused. The steps of a change are ordered so that a crash
between any two of them leaves a pair that is recognised:

1. The file gets the new id, and the one before.
2. The row gets the new id.
3. The file gets the new id alone.

An index in PostgreSQL is changed only by the server that has given it its id: each transaction
that changes rows looks whether the id is still there.

A file with two ids belongs to an index that has one of them. Where there was none before, the file
counts only once the row has its id.

The file also names the default model of a server without settings of its own. It gets the name
when the directory is new, before there is an index, and every change of the id keeps it.
"""

from __future__ import annotations

import logging
import uuid
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import orjson
from sqlalchemy import delete, inspect
from sqlalchemy.engine import URL

from energy_flow import pretrained
from service.json_encoding import to_json
from service.problems import is_disk_full
from service.store.atomic_files import fsync, write_bytes
from service.store.database import MAX_WAIT_SECONDS, Database
from service.store.disk_reserve import DiskReserve
from service.store.folders import IDENTITY
from service.store.index_file import find_index_file, is_missing, show_url
from service.store.recovery.content import IndexContent, find_complete, read_index
from service.store.recovery.describe import describe_stored
from service.store.recovery.errors import DataDirMismatchError
from service.store.tables import IdentityRow

log = logging.getLogger(__name__)

REBUILD = "energy-flow data rebuild-index makes a new index from the files"
ADOPT = "energy-flow data adopt accepts this directory and this index as belonging together"


@dataclass(frozen=True, slots=True)
class Mark:
    """The content of the file.

    Attributes:
        id: Id of the data directory.
        is_changing: Whether the row may still have the id before.
        before: Id before; ``None`` if there was none.
        default_model: Name of the model of Energy Flow that is the default one unless a setting
            chooses another; ``None`` in a directory of a version that had no such model.
    """

    id: str
    is_changing: bool = False
    before: str | None = None
    default_model: str | None = None

    @property
    def ids(self) -> tuple[str | None, ...]:
        """The ids of an index that belongs to the directory."""
        return (self.id, self.before) if self.is_changing else (self.id,)


def open_index(
    data_dir: Path,
    url: URL,
    reserve: DiskReserve | None = None,
    request_seconds: float = MAX_WAIT_SECONDS,
) -> Database:
    """Open the index of a data directory, and give both a new id.

    The caller has locked the directory.

    Args:
        data_dir: The data directory.
        url: URL of the index.
        reserve: Room for removals on a full disk, if any is kept.
        request_seconds: Most seconds that a request waits for a locked index.

    Raises:
        DataDirMismatchError: They do not belong together, or one of them is lost. Nothing has been
            changed.
        NewerIndexError: The index was written by a newer version of the program.
        Problem: 503, the system does not let the process use the index.
        OSError: The directory cannot be used.
        sqlalchemy.exc.SQLAlchemyError: The index cannot be used.
    """
    # Before an empty index is made in its place.
    check_not_lost(data_dir, url)
    if _is_new(data_dir, url):
        # Before there is an index, so that a start after a crash knows that it is new as well.
        _write(data_dir, Mark(make_id(), is_changing=True, default_model=pretrained.DEFAULT))
    database = Database(url, reserve, request_seconds=request_seconds)
    database.places.add(data_dir)
    try:
        with database.connection() as connection:
            content = read_index(connection)
        mismatch = _find_mismatch(data_dir, content, show_url(url))
        if mismatch is not None:
            raise DataDirMismatchError(mismatch)
        if content.id is None:
            describe_stored(data_dir, database)
        database.keep_active(_renew(data_dir, database, content.id, reserve))
    except BaseException:
        database.close()
        raise
    return database


def check_not_lost(data_dir: Path, url: URL) -> None:
    """Refuse a data directory that has files but no index.

    Args:
        data_dir: The data directory.
        url: URL of the index.

    Raises:
        DataDirMismatchError: The index is lost.
    """
    if is_missing(url) and any(find_complete(data_dir)):
        raise DataDirMismatchError(_describe_lost(data_dir, show_url(url)))


def renew(data_dir: Path, database: Database, before: str | None) -> str:
    """Give a data directory and an index a new id, whatever ids they have.

    Args:
        data_dir: The data directory.
        database: The index.
        before: Id of the index; ``None`` if it has none.

    Returns:
        The new id.

    Raises:
        OSError: The file could not be written.
        sqlalchemy.exc.SQLAlchemyError: The row could not be written.
    """
    new = make_id()
    begin(data_dir, new, before)
    set_index_id(database, new)
    settle(data_dir, new)
    return new


def make_id() -> str:
    """Return a new id."""
    return uuid.uuid4().hex


def begin(data_dir: Path, new: str, before: str | None) -> None:
    """Write a new id to the file: the first step.

    Args:
        data_dir: The data directory.
        new: The id.
        before: Id of the index; ``None`` if it has none.

    Raises:
        OSError: The file could not be written.
    """
    _write(data_dir, Mark(new, True, before, _find_default(data_dir)))


def set_index_id(database: Database, new: str) -> None:
    """Write a new id to the row: the second step.

    Args:
        database: The index.
        new: The id.

    Raises:
        sqlalchemy.exc.SQLAlchemyError: The row could not be written.
    """
    with database.session(durable=True) as session:
        session.execute(delete(IdentityRow))
        session.add(IdentityRow(id=new))


def settle(data_dir: Path, new: str) -> None:
    """Write the new id alone to the file: the third step.

    Args:
        data_dir: The data directory.
        new: The id.

    Raises:
        OSError: The file could not be written.
    """
    _write(data_dir, Mark(new, default_model=_find_default(data_dir)))


def check_place(data_dir: Path) -> None:
    """Refuse a folder in the place of the file.

    Args:
        data_dir: The data directory.

    Raises:
        DataDirMismatchError: There is one.
    """
    path = data_dir / IDENTITY
    if path.is_dir():
        raise DataDirMismatchError(f"{path} is a folder; move it away first; then {ADOPT}")


def read_mark(data_dir: Path) -> Mark | None:
    """Return the content of the file; ``None`` if there is no file.

    Args:
        data_dir: The data directory.

    Raises:
        DataDirMismatchError: The file is damaged.
        OSError: It cannot be read.
    """
    path = data_dir / IDENTITY
    check_place(data_dir)
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    try:
        content = orjson.loads(data)
    except orjson.JSONDecodeError:
        content = None
    if not isinstance(content, dict) or not isinstance(content.get("id"), str):
        raise DataDirMismatchError(f"{path} is damaged: it has no id; {ADOPT}")
    default_model = content.get("default_model")
    if not isinstance(default_model, str | None):
        raise DataDirMismatchError(f"{path} is damaged: its default_model is no name; {ADOPT}")
    return Mark(content["id"], "before" in content, content.get("before"), default_model)


def read_default_model(data_dir: Path) -> str | None:
    """Return the name of the model of Energy Flow that is the default one of a data directory.

    Args:
        data_dir: The data directory, whose index is open.

    Returns:
        The name; ``None`` in a directory of a version that had no such model.

    Raises:
        DataDirMismatchError: The file is damaged.
        OSError: It cannot be read.
    """
    mark = read_mark(data_dir)
    return None if mark is None else mark.default_model


def _is_new(data_dir: Path, url: URL) -> bool:
    """Return whether neither a directory nor an index was used before."""
    if read_mark(data_dir) is not None or any(find_complete(data_dir)):
        return False
    if find_index_file(url) is not None:
        return is_missing(url)
    with closing(Database(url, is_changing=False)) as database, database.connection() as connection:
        return not inspect(connection).get_table_names()


def _find_default(data_dir: Path) -> str | None:
    """Return the default model of a directory whose file may be damaged."""
    try:
        return read_default_model(data_dir)
    except DataDirMismatchError:
        return None


def _renew(
    data_dir: Path, database: Database, before: str | None, reserve: DiskReserve | None
) -> str:
    """Give both a new id, and return the one that the index has then."""
    try:
        return renew(data_dir, database, before)
    except Exception as error:
        # The ids before are still accepted. Without them nothing may be stored.
        if before is None or not is_disk_full(error):
            raise
    if database.is_shared:
        # By the new id, a server that was active before changes nothing any more.
        if reserve is not None:
            reserve.release()
        return renew(data_dir, database, before)
    log.warning("the disk is full: the data directory keeps its id")
    return before


def _find_mismatch(data_dir: Path, content: IndexContent, index: str) -> str | None:
    """Return why a directory and an index do not belong together; ``None`` if they do."""
    mark = read_mark(data_dir)
    if mark is not None and mark.is_changing and mark.before is None and content.id is None:
        # The first start was interrupted before the index had the id.
        mark = None
    if content.id is not None:
        if mark is None:
            return (
                f"the data directory {data_dir} has no id, but the index {index} belongs to "
                f"another one; use the pair that belongs together, or: {REBUILD}, and {ADOPT}"
            )
        if content.id not in mark.ids:
            return (
                f"the data directory {data_dir} (id {mark.id}) and the index {index} (id "
                f"{content.id}) do not belong together, or one of them is a copy from another "
                f"time; use the pair that belongs together, or: {REBUILD}, and {ADOPT}"
            )
        return None
    held = {entry.identity for entry in find_complete(data_dir)}
    if content.is_empty:
        return _describe_lost(data_dir, index) if held else None
    if mark is not None:
        return (
            f"the data directory {data_dir} has the id {mark.id}, and the index {index} has none: "
            f"it is older, or that of another directory; start the server with the index that "
            f"belongs to the directory, or: {REBUILD}, and {ADOPT}"
        )
    # Both come from a version without ids. They must have something in common.
    if not held & content.known if held else content.needed:
        return (
            f"nothing in the data directory {data_dir} is in the index {index}, which has other "
            f"content; start the server with the pair that belongs together, or: {REBUILD}, and "
            f"{ADOPT}"
        )
    return None


def _describe_lost(data_dir: Path, index: str) -> str:
    return (
        f"the data directory {data_dir} has datasets, models or runs, but its index {index} is "
        f"lost; restore it from a backup (if it is an older one: {ADOPT}), or: {REBUILD}"
    )


def _write(data_dir: Path, mark: Mark) -> None:
    content: dict[str, str | None] = {"id": mark.id}
    if mark.is_changing:
        content["before"] = mark.before
    if mark.default_model is not None:
        content["default_model"] = mark.default_model
    write_bytes(data_dir / IDENTITY, to_json(content))
    fsync(data_dir)
