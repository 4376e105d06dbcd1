"""Rows of the index of a stopped server, as another version of the program would have left them."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any


def change_rows(data_dir: Path, table: str, **values: Any) -> None:
    """Set columns of all rows of a table.

    Args:
        data_dir: Data directory of the stopped server.
        table: Name of the table.
        values: New values by column.
    """
    columns = ", ".join(f"{name} = ?" for name in values)
    with closing(sqlite3.connect(data_dir / "index.sqlite3")) as index, index:
        index.execute(f"UPDATE {table} SET {columns}", tuple(values.values()))
