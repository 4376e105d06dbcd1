"""Bodies of requests."""

from __future__ import annotations

import io
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
