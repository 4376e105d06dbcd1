"""Rows of the index of a server, as another version of the program would have left them."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any


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
    columns = ", ".join(f"{name} = ?" for name in values)
    conditions = " AND ".join(f"{name} = ?" for name in where or {}) or "1"
    with closing(sqlite3.connect(data_dir / "index.sqlite3")) as index, index:
        index.execute(
            f"UPDATE {table} SET {columns} WHERE {conditions}",
            (*values.values(), *(where or {}).values()),
        )
