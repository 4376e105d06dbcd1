"""What interrupted work has left in the data directory; sorted out at a start."""

from __future__ import annotations

import logging
from pathlib import Path

from service.store.atomic_files import remove_path
from service.store.database import Database
from service.store.recovery.content import find_complete, find_temporary, read_index
from service.store.recovery.quarantine import Quarantine

log = logging.getLogger(__name__)


def sort_out_leftovers(data_dir: Path, database: Database) -> None:
    """Remove temporary files, and put complete ones that the index does not know into quarantine.

    Args:
        data_dir: The data directory, locked.
        database: Its index.

    Raises:
        OSError: A temporary file could not be removed.
    """
    for path in find_temporary(data_dir):
        log.info("removing leftover %s", path.name)
        remove_path(path)
    with database.connection() as connection:
        known = read_index(connection).known
    unknown = [entry for entry in find_complete(data_dir) if entry.identity not in known]
    moved = Quarantine(data_dir).add(unknown)
    if moved:
        log.warning(
            "moved to quarantine: %d; energy-flow data quarantine list shows what is there", moved
        )
