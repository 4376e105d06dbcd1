"""A data directory and an index are accepted as belonging together."""

from __future__ import annotations

from collections import Counter
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy.engine import URL

from service.store.database import Database
from service.store.index_file import is_missing, show_url
from service.store.recovery.content import Kind, find_complete
from service.store.recovery.describe import describe_stored
from service.store.recovery.errors import RecoveryError
from service.store.recovery.identity import REBUILD, check_place, renew
from service.store.recovery.rebuild import inspect_index


@dataclass(frozen=True, slots=True)
class Comparison:
    """How a data directory and an index agree.

    Attributes:
        common: Files and runs that both have, by kind.
        unknown: Those that the index does not know; the next start puts them into quarantine.
        missing: Those that the index knows and that have no file.
    """

    common: Counter[Kind]
    unknown: Counter[Kind]
    missing: Counter[Kind]


def compare(data_dir: Path, url: URL) -> Comparison:
    """Return how a data directory and an index agree, and change nothing.

    Args:
        data_dir: The data directory.
        url: URL of the index.

    Raises:
        RecoveryError: There is no index.
        DataDirMismatchError: A folder is in the place of the id.
        sqlalchemy.exc.SQLAlchemyError: The index cannot be read.
    """
    check_place(data_dir)
    if is_missing(url):
        raise RecoveryError(f"there is no index {show_url(url)}; {REBUILD}")
    content = inspect_index(url)
    held = {entry.identity for entry in find_complete(data_dir)}
    return Comparison(
        Counter(kind for kind, _ in held & content.known),
        Counter(kind for kind, _ in held - content.known),
        Counter(kind for kind, _ in content.needed - held),
    )


def adopt(data_dir: Path, url: URL) -> None:
    """Give a data directory and an index the same id.

    Args:
        data_dir: The data directory, locked.
        url: URL of the index, which exists.

    Raises:
        OSError: A file could not be written.
        sqlalchemy.exc.SQLAlchemyError: The index could not be written.
    """
    before = inspect_index(url).id
    with closing(Database(url)) as database:
        describe_stored(data_dir, database)
        renew(data_dir, database, before)
