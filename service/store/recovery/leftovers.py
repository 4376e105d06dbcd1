"""What interrupted work has left in the data directory; sorted out at a start."""

from __future__ import annotations

import logging
from pathlib import Path

from service.store.database import Database
from service.store.folders import remove_tree
from service.store.recovery.content import find_complete, find_temporary, read_index
from service.store.recovery.quarantine import Quarantine

log = logging.getLogger(__name__)


def sort_out_leftovers(data_dir: Path, database: Database) -> None:
    """Remove temporary files, and put complete ones that the index does not know into quarantine.

    What cannot be removed stays until a later start.

    Args:
        data_dir: The data directory, locked.
        database: Its index.
    """
    for path in find_temporary(data_dir):
        kept = remove_tree(path)
        if kept is None:
            log.info("removed leftover %s", path.name)
        else:
            log.warning(
                "leftover %s cannot be removed: %s; each start tries it; or remove it by hand",
                path,
                kept,
            )
    with database.connection() as connection:
        known = read_index(connection).known
    unknown = [entry for entry in find_complete(data_dir) if entry.identity not in known]
    moved = Quarantine(data_dir).add(unknown)
    if moved:
        log.warning(
            "moved to quarantine: %d; energy-flow data quarantine list shows what is there", moved
        )
