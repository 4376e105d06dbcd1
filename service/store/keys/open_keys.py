"""The keys of a data directory, for commands that may run beside its server."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from sqlalchemy.engine import URL

from service.store.database import Database
from service.store.index_file import is_missing
from service.store.keys.stored_keys import StoredKeys
from service.store.recovery.identity import check_not_lost
from service.store.recovery.lock import lock_data_dir
from service.store.recovery.server_lock import make_index_lock


@contextmanager
def open_keys(data_dir: Path, url: URL) -> Iterator[StoredKeys]:
    """Open the keys of an index until the end of the block, also while a server uses it.

    An index that is missing is made, and one of an earlier version is migrated. Only for that, no
    server may use the directory.

    Args:
        data_dir: The data directory.
        url: URL of the index.

    Raises:
        DataDirInUseError: The index must be made or migrated, and a server uses the directory.
        DataDirMismatchError: The index is lost.
        OSError: The directory cannot be used.
        sqlalchemy.exc.SQLAlchemyError: The index cannot be used.
    """
    if not _is_current(url):
        advice = "its index is that of another version or elsewhere; stop that server first"
        with lock_data_dir(data_dir, advice), make_index_lock(url, advice):
            check_not_lost(data_dir, url)
            Database(url).close()
    with closing(Database(url)) as database:
        yield StoredKeys(database)


def has_active_key(url: URL) -> bool:
    """Return whether an index has a key that can be used; change nothing.

    Args:
        url: URL of the index, which need not exist.

    Raises:
        sqlalchemy.exc.SQLAlchemyError: The index cannot be read.
    """
    if is_missing(url):
        return False
    with closing(Database(url, is_changing=False)) as database:
        keys = StoredKeys(database)
        return keys.exists and bool(keys.find_all(revoked=False))


def _is_current(url: URL) -> bool:
    if is_missing(url):
        return False
    with closing(Database(url, is_changing=False)) as database:
        return database.is_current
