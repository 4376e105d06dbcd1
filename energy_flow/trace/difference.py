"""Where two traces of one sample part."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from energy_flow.trace.records import COLUMN_DTYPES, KINDS

Columns = Mapping[str, NDArray[Any]]


class HasColumns(Protocol):
    """A trace: columns of equal length, sorted by seq."""

    @property
    def columns(self) -> Columns:
        """Arrays by the names of ``records.COLUMN_DTYPES``."""
        ...


@dataclass(frozen=True, slots=True)
class Difference:
    """Where two traces of a sample part.

    Attributes:
        seq: number of the first record that differs, or that only one of them has.
        first, second: that record in each, by column name; none where it is missing.
    """

    seq: int
    first: dict[str, Any] | None
    second: dict[str, Any] | None


def first_difference(first: HasColumns, second: HasColumns) -> Difference | None:
    """The first record at which two traces of one sample part; none when they are equal.

    Records are matched by ``seq``; a record that either ring no longer holds is not compared.
    ``sample`` is a row number and is left out.
    """
    one, two = first.columns, second.columns
    begin = max(
        (int(columns["seq"][0]) for columns in (one, two) if len(columns["seq"])), default=0
    )
    first_rows, second_rows = (np.flatnonzero(columns["seq"] >= begin) for columns in (one, two))
    shared = min(len(first_rows), len(second_rows))
    differs = np.zeros(shared, dtype=bool)
    for name in COLUMN_DTYPES:
        if name != "sample":
            differs |= one[name][first_rows[:shared]] != two[name][second_rows[:shared]]
    if differs.any():
        at = int(np.argmax(differs))
    elif len(first_rows) != len(second_rows):
        at = shared
    else:
        return None
    return Difference(
        begin + at,
        _record(one, first_rows[at]) if at < len(first_rows) else None,
        _record(two, second_rows[at]) if at < len(second_rows) else None,
    )


def _record(columns: Columns, row: int) -> dict[str, Any]:
    values = {name: columns[name][row].item() for name in COLUMN_DTYPES}
    return {**values, "kind": KINDS[values["kind"]]}
