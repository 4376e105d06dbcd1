"""Checks of rows of numbers, whatever they are called."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from energy_flow.array_likes import one_row_is
from energy_flow.errors import Fault

NUMBERS: Final = "float16, float32, float64 or integers"
"""What arrays of numbers may hold, for messages."""

_MAX_FLOAT16 = float(np.finfo(np.float16).max)
_MAX_FLOAT32 = float(np.finfo(np.float32).max)

# Numbers that are checked at once. Those of a large body would take its memory again.
_BLOCK_NUMBERS = 2**17


def find_row_faults(
    rows: Any, name: str = "embeddings", first_row: int = 0, width: int | None = None
) -> list[Fault]:
    """Return why rows are not a rectangle of numbers: the first fault of each kind.

    Args:
        rows: Anything that JSON can hold. A row that was parsed in pieces is an array.
        name: Name of the rows in the faults.
        first_row: Index of the first of them.
        width: Numbers in each row, if that is known.
    """
    if not isinstance(rows, list):
        return [Fault((name,), "must be a list of rows of numbers", rows)]
    if not rows:
        return [Fault((name,), "must hold at least one row", rows)]
    faults: list[Fault] = []
    for index, row in enumerate(rows, first_row):
        if not isinstance(row, list | np.ndarray):
            message = "must be a list of numbers"
            if index == first_row == 0 and isinstance(row, int | float):
                message = f"{message}; {one_row_is()}"
            return [Fault((name, index), message, row)]
    lengths = [len(row) for row in rows]
    width = lengths[0] if width is None else width
    ragged = next((i for i, length in enumerate(lengths) if length != width), None)
    if ragged is not None:
        message = describe_other_length(lengths[ragged], width)
        faults.append(Fault((name, first_row + ragged), message, lengths[ragged]))
    faults.extend(_find_first_non_number(rows, name, first_row))
    return faults


def describe_type(value: Any) -> str:
    """Return what JSON calls a value, with its article."""
    match value:
        case None:
            return "null"
        case bool():
            return "a boolean"
        case int() | float():
            return "a number"
        case str():
            return "a string"
        case list():
            return "a list"
        case _:
            return "an object"


def describe_other_length(length: int, width: int) -> str:
    """Return what is wrong with a row whose length is not that of row 0.

    Args:
        length: Numbers of the row.
        width: Numbers of row 0.
    """
    return f"has length {length}, but row 0 has length {width}; rows must have one length"


def find_unfit_number(
    numbers: NDArray[Any], name: str = "embeddings", first_row: int = 0
) -> Fault | None:
    """Return the first number that is not finite or beyond float32, if there is one.

    Args:
        numbers: Floats or integers [rows, columns].
        name: Name of the numbers in the fault.
        first_row: Index of the first row.
    """
    if numbers.dtype.kind != "f":
        # The largest integers are far below the largest float32.
        return None
    # NaN compares false, so it is found as well. A float16 is compared with its own maximum,
    # because that of float32 would become infinity.
    maximum = _MAX_FLOAT32 if numbers.itemsize > 2 else _MAX_FLOAT16
    for top, left, block in _blocks(numbers):
        is_fit = np.abs(block) <= maximum
        if not is_fit.all():
            row, column = (int(index) for index in np.argwhere(~is_fit)[0])
            value = float(block[row, column])
            message = "must be a finite number" if not np.isfinite(value) else "is beyond float32"
            return Fault((name, first_row + top + row, left + column), message, value)
    return None


def _blocks(numbers: NDArray[Any]) -> Iterator[tuple[int, int, NDArray[Any]]]:
    """Yield parts of [rows, columns] in the order of the numbers, each with its first indices."""
    rows, columns = numbers.shape
    if not numbers.size:
        # A file of a few bytes can state any number of rows without numbers.
        return
    height, width = max(1, _BLOCK_NUMBERS // columns), min(columns, _BLOCK_NUMBERS)
    for top in range(0, rows, height):
        for left in range(0, columns, width):
            yield top, left, numbers[top : top + height, left : left + width]


def is_number_dtype(dtype: np.dtype[Any]) -> bool:
    """Return whether an array holds floats of 16, 32 or 64 bits, or integers."""
    return dtype.kind in "iu" or (dtype.kind == "f" and dtype.itemsize in (2, 4, 8))


def widen_bfloat16(data: bytes | memoryview) -> NDArray[np.float32]:
    """Return the numbers of bfloat16, which NumPy does not have; a copy.

    Args:
        data: Their bytes, little-endian.
    """
    # A bfloat16 is the upper half of a float32.
    return (np.frombuffer(data, "<u2").astype(np.uint32) << np.uint32(16)).view(np.float32)


def _find_first_non_number(rows: list[Any], name: str, first_row: int) -> Iterator[Fault]:
    for i, row in enumerate(rows, first_row):
        if isinstance(row, np.ndarray):
            continue
        for j, value in enumerate(row):
            if isinstance(value, bool) or not isinstance(value, int | float):
                message = f"must be a number, not {describe_type(value)}"
                yield Fault((name, i, j), message, value)
                return
            if isinstance(value, int) and abs(value) > 2**1000:
                # Too large for a double, which the check of ranges needs.
                yield Fault((name, i, j), "is beyond float32", str(value))
                return
