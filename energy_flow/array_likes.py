"""Rows of numbers as other libraries hold them: arrays, tensors, columns of lists, nested lists.

The libraries are not imported. What they have in common decides: tensors detach, data frames and
columns have ``to_numpy``, columns of Arrow can be flattened.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from energy_flow.choices import TARGET_NAMES
from energy_flow.embedding_answers import rows_of_answer
from energy_flow.errors import EmbeddingError, Fault

_NAME: Final = "embeddings"
_BFLOAT16: Final = "bfloat16"
_TEXT_DTYPES: Final = ("object", "str", "categor", "enum")
"""How the names of dtypes begin whose columns can hold texts; those of pandas may hold others."""


def as_matrix(values: Any, width: int | None = None) -> NDArray[Any]:
    """Return rows of numbers as an array of floats or integers, whatever its number of axes is.

    Args:
        values: an array, tensor, data frame, column of lists, nested list, or the answer of an
            embeddings API.
        width: numbers of a row, for messages; those of the first row if none.

    Raises:
        EmbeddingError: they are not rows of numbers of one length, or a value is masked or
            missing; it names the index of the first such element.
    """
    rows = rows_of_answer(values)
    plain = _to_plain(values if rows is None else rows)
    try:
        array = np.asarray(plain)
    except (ValueError, OverflowError):
        array = np.empty(0, dtype=object)
    if array.dtype.kind in "fiu":
        return array
    fault = _row_fault(plain, width)
    if fault is not None:
        raise EmbeddingError(fault)
    # NumPy keeps integers beyond 64 bits as objects.
    return np.array([[_real(value) for value in row] for row in plain], dtype=np.float64)


def one_row_is(width: int | str = "width") -> str:
    """Return how a single row is given, for messages about one that is no matrix.

    Args:
        width: its numbers.
    """
    return f"one row is [[...]] (shape [1, {width}])"


def show_value(value: Any) -> str:
    """Return a value in few characters, for a message."""
    try:
        text = repr(value)
    except ValueError:  # an integer with more digits than Python prints
        text = type(value).__name__
    return text if len(text) <= 60 else text[:57] + "..."


def _to_plain(values: Any) -> Any:
    """Return values as a NumPy array or as nested lists, with ``None`` where one is missing.

    Raises:
        EmbeddingError: a value is masked, or a data frame has targets as well.
    """
    _refuse_other_columns(values)
    if hasattr(values, "detach"):
        return _of_tensor(values)
    if hasattr(values, "null_count") and hasattr(values, "to_pylist"):
        return _of_arrow(values)
    if hasattr(values, "null_count") and hasattr(values, "to_list"):
        return _of_polars_column(values)
    if hasattr(values, "null_count") and hasattr(values, "get_columns"):
        return _of_polars_frame(values)
    if hasattr(values, "to_numpy"):
        values = values.to_numpy()
    if isinstance(values, np.ndarray):
        return _of_array(values)
    if isinstance(values, list | tuple) and any(map(_is_foreign, values)):
        return _stack(values)
    return values


def _refuse_other_columns(values: Any) -> None:
    """Refuse a data frame with a column of targets or of texts."""
    if not hasattr(values, "columns") or not hasattr(values, "dtypes"):
        return
    for name in values.columns:
        if isinstance(name, str) and name in TARGET_NAMES:
            message = f"has the column {name!r}, no part of an embedding; leave it out of the frame"
            raise EmbeddingError(Fault((_NAME,), message))
    for name, dtype in zip(values.columns, values.dtypes, strict=True):
        if str(dtype).lower().startswith(_TEXT_DTYPES) and _holds_texts(values[name]):
            message = (
                f"has the column {name!r} of texts, no part of an embedding; give the columns of "
                "numbers alone, such as frame[['e0', 'e1']], or the column of lists, frame[NAME]"
            )
            raise EmbeddingError(Fault((_NAME,), message))


def _holds_texts(column: Any) -> bool:
    """Return whether the first text or list of a column is a text."""
    return isinstance(next((value for value in column if hasattr(value, "__len__")), None), str)


def _is_foreign(row: Any) -> bool:
    return isinstance(row, np.ma.MaskedArray) or any(
        hasattr(row, name) for name in ("detach", "to_numpy", "to_pylist")
    )


def _of_tensor(tensor: Any) -> Any:
    tensor = tensor.detach().cpu()
    # NumPy has no bfloat16; float32 holds every bfloat16.
    return (tensor.float() if _BFLOAT16 in str(tensor.dtype) else tensor).numpy()


def _of_array(array: NDArray[Any]) -> Any:
    if isinstance(array, np.ma.MaskedArray):
        masked = np.argwhere(np.ma.getmaskarray(array))
        if len(masked):
            message = "is masked; fill masked values, or leave their rows out"
            place = (int(index) for index in masked[0])
            raise EmbeddingError(Fault((_NAME, *place), message))
        array = array.data
    if array.dtype.name == _BFLOAT16:
        # A dtype of another package, which knows how to convert it.
        return array.astype(np.float32)
    if array.dtype.kind != "O":
        return array
    if array.ndim == 2 and array.shape[1] == 1 and len(array) and hasattr(array[0, 0], "__len__"):
        # A frame that has nothing but a column of lists.
        array = array[:, 0]
    # A column of lists, or a table with missing values.
    return _stack(list(array)) if array.ndim == 1 else array.tolist()


def _stack(rows: Iterable[Any]) -> Any:
    """Return rows of any kind as an array, or as lists where they are no matrix of numbers."""
    plain = [_to_plain(row) for row in rows]
    try:
        arrays = [np.asarray(row) for row in plain]
    except (ValueError, OverflowError):
        arrays = []
    are_rows = all(array.ndim == 1 and array.dtype.kind in "fiu" for array in arrays)
    if arrays and are_rows and len({len(array) for array in arrays}) == 1:
        return np.stack(arrays)
    return [row.tolist() if isinstance(row, np.ndarray) else row for row in plain]


def _of_arrow(column: Any) -> Any:
    """Return a column of lists of Arrow, or a list with ``None`` where a value is missing."""
    if hasattr(column, "combine_chunks"):
        column = column.combine_chunks()
    # An extension type, such as that of tensors of a fixed shape, is stored as lists.
    column = getattr(column, "storage", column)
    if column.null_count or not hasattr(column, "flatten") or not len(column):
        return column.to_pylist()
    flat = column.flatten()
    if hasattr(column, "offsets"):
        lengths = set(np.diff(column.offsets.to_numpy()).tolist())
    else:
        lengths = {getattr(column.type, "list_size", 0)}
    if flat.null_count or len(lengths) > 1 or 0 in lengths:
        return column.to_pylist()
    numbers = flat.to_numpy(zero_copy_only=False)
    return numbers.reshape(len(column), -1) if numbers.dtype.kind in "fiu" else column.to_pylist()


def _of_polars_column(column: Any) -> Any:
    numbers = column.explode() if "list" in str(column.dtype).lower() else column
    if column.null_count() or numbers.null_count():
        return column.to_list()
    array = numbers.to_numpy()
    if numbers is column or array.dtype.kind not in "fiu" or not len(column):
        return array if array.dtype.kind in "fiu" else column.to_list()
    lengths = set(column.list.len().to_list())
    return array.reshape(len(column), -1) if len(lengths) == 1 else column.to_list()


def _of_polars_frame(frame: Any) -> Any:
    columns = frame.get_columns()
    if len(columns) == 1:
        return _to_plain(columns[0])
    array = frame.to_numpy()
    is_whole = array.dtype.kind in "fiu" and not any(column.null_count() for column in columns)
    return array if is_whole else [list(row) for row in frame.rows()]


def _real(value: float) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def _row_fault(rows: Any, width: int | None) -> Fault | None:
    """Return the first fault that keeps nested lists from being a matrix of numbers, if any."""
    if not isinstance(rows, Sequence) or isinstance(rows, str):
        got = getattr(rows, "dtype", type(rows).__name__)
        return Fault((_NAME,), "must be a list of lists of real numbers", str(got))
    one_length = "" if width is not None else "; rows must have one length"
    for row, values in enumerate(rows):
        if not isinstance(values, Sequence | np.ndarray) or isinstance(values, str):
            message = "must be a list of numbers"
            if row == 0 and isinstance(values, int | float):
                message = f"{message}; {one_row_is()}"
            return Fault((_NAME, row), message, show_value(values))
        width = len(values) if width is None else width
        if len(values) != width:
            message = f"must hold {width} numbers{one_length}"
            return Fault((_NAME, row), message, len(values))
        for column, value in enumerate(values):
            real = isinstance(value, int | float | np.integer | np.floating)
            if isinstance(value, bool) or not real:
                return Fault((_NAME, row, column), "must be a number", show_value(value))
    return None
