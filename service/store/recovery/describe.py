"""Descriptions for runs that earlier versions stored without them."""

from __future__ import annotations

import logging
from pathlib import Path

from sqlalchemy import select

from service.store.atomic_files import write_bytes
from service.store.database import Database
from service.store.descriptions.run import DESCRIPTION, describe_run
from service.store.recovery.content import Kind
from service.store.tables import RunRow

log = logging.getLogger(__name__)

_AT_ONCE = 500


def describe_stored(data_dir: Path, database: Database) -> None:
    """Write the description of each run that has a folder and no description.

    Args:
        data_dir: The data directory.
        database: The index.

    Raises:
        OSError: A file could not be written.
    """
    count = 0
    with database.session() as session:
        for row in session.scalars(select(RunRow).execution_options(yield_per=_AT_ONCE)):
            path = data_dir / Kind.RUNS / row.run_id / DESCRIPTION
            if path.parent.is_dir() and not path.exists():
                write_bytes(path, describe_run(row), durable=False)
                count += 1
    if count:
        log.info("wrote descriptions of runs of an earlier version: %d", count)
