"""JSON of Python values; values that JSON lacks are refused, because they would become null.

Null means the default in many places, and a missing number must not.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import orjson

# Of pandas, which need not be installed.
_MISSING_TYPES = frozenset({"NAType", "NaTType"})


def dump_json(value: Any, place: str = "") -> bytes:
    """Return a value as JSON; arrays become lists.

    Args:
        value: mappings, sequences, arrays, text and numbers.
        place: its name in messages; members are named by themselves if it has none.

    Raises:
        ValueError: a number is missing, masked, infinite or not a number.
        TypeError: JSON has no such type.
    """
    check_numbers(value, place)
    return orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY)


def check_numbers(value: Any, place: str) -> None:
    """Refuse numbers that JSON lacks.

    Args:
        value: as for :func:`dump_json`.
        place: its name in messages.

    Raises:
        ValueError: a number is missing, masked, infinite or not a number.
    """
    if isinstance(value, str | bytes) or value is None:
        return
    if value is np.ma.masked or type(value).__name__ in _MISSING_TYPES:
        raise _refusal(place, "missing")
    if isinstance(value, float | np.floating):
        if not math.isfinite(value):
            raise _refusal(place, str(value))
    elif isinstance(value, Mapping):
        for name, member in value.items():
            check_numbers(member, f"{place}.{name}" if place else str(name))
    elif isinstance(value, np.ndarray):
        _check_array(value, place)
    elif isinstance(value, list | tuple):
        for index, entry in enumerate(value):
            # A place costs more than the check, and keys can be millions.
            if type(entry) is not int:
                check_numbers(entry, f"{place}[{index}]")


def integers(values: Iterable[Any], place: str) -> list[int]:
    """Return numbers as integers.

    Args:
        values: the numbers; floats are accepted if they have no fraction.
        place: their name in messages.

    Raises:
        ValueError: one of them is no integer.
    """
    if isinstance(values, np.ndarray):
        check_numbers(values, place)
        values = values.tolist()
    found = []
    for index, value in enumerate(values):
        if type(value) is int:
            found.append(value)
            continue
        entry = f"{place}[{index}]"
        check_numbers(value, entry)
        is_number = isinstance(value, int | float | np.integer | np.floating)
        if not is_number or isinstance(value, bool) or value != int(value):
            raise ValueError(f"{entry} must be an integer, not {value!r}")
        found.append(int(value))
    return found


def _check_array(array: np.ndarray[Any, Any], place: str) -> None:
    if isinstance(array, np.ma.MaskedArray) and np.ma.is_masked(array):
        raise _refusal(place, "masked in part")
    if array.dtype.kind == "f":
        finite = np.isfinite(array)
        if not finite.all():
            index = np.unravel_index(int(np.argmin(finite)), array.shape)
            entry = "".join(f"[{number}]" for number in index)
            raise _refusal(f"{place}{entry}", str(array[index]))
    elif array.dtype.kind == "O":
        check_numbers(array.tolist(), place)


def _refusal(place: str, what: str) -> ValueError:
    return ValueError(f"{place or 'the value'} is {what}; give a number, or leave it out")
