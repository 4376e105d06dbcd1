"""Bodies of requests."""

from __future__ import annotations

import io
from collections.abc import Iterable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

NPY = {"content-type": "application/x-npy"}
"""Headers of a ``.npy`` body."""


def npy(array: NDArray[Any]) -> bytes:
    """Return an array as a ``.npy`` file."""
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def parquet(table: pa.Table, **options: Any) -> bytes:
    """Return a table as a Parquet file.

    Args:
        table: the columns.
        options: arguments of ``pyarrow.parquet.write_table``.
    """
    file = io.BytesIO()
    pq.write_table(table, file, **options)
    return file.getvalue()


def arrow(table: pa.Table, *, is_stream: bool = False, **options: Any) -> bytes:
    """Return a table as an Arrow IPC file, or as a stream.

    Args:
        table: the columns.
        is_stream: whether it is a stream.
        options: arguments of ``pyarrow.ipc.IpcWriteOptions``.
    """
    file = io.BytesIO()
    open_writer = pa.ipc.new_stream if is_stream else pa.ipc.new_file
    with open_writer(file, table.schema, options=pa.ipc.IpcWriteOptions(**options)) as writer:
        writer.write_table(table)
    return file.getvalue()


def csv(rows: Iterable[Iterable[Any]], names: Iterable[str] = ()) -> bytes:
    """Return rows as a ``.csv`` file, a field for each value."""
    lines = [",".join(map(str, values)) for values in ([names] if names else []) + [*rows]]
    return "".join(f"{line}\n" for line in lines).encode()
