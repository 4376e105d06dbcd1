"""Rows of the index of a server, as another version of the program would have left them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sqlalchemy import create_engine

from service.store.tables import Table
from tests.support.index_databases import DATABASES


def change_rows(
    data_dir: Path, table: str, where: Mapping[str, Any] | None = None, **values: Any
) -> None:
    """Set columns of rows of a table.

    Args:
        data_dir: Data directory of the server.
        table: Name of the table.
        where: Values by column that the rows have; all rows by default.
        values: New values by column.
    """
    rows = Table.metadata.tables[table]
    conditions = [rows.c[name] == value for name, value in (where or {}).items()]
    engine = create_engine(DATABASES.url_of(data_dir))
    try:
        with engine.begin() as index:
            index.execute(rows.update().where(*conditions).values(**values))
    finally:
        engine.dispose()
