"""Where two traces of one sample begin to differ."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from energy_flow.trace.records import COLUMN_DTYPES, KINDS, Columns, HasColumns


@dataclass(frozen=True, slots=True)
class Difference:
    """The first record that differs between two traces of a sample.

    Attributes:
        seq: its number; it differs, or only one trace has it.
        first: the record in the first trace, by column name; none where it is missing.
        second: likewise in the second.
    """

    seq: int
    first: dict[str, Any] | None
    second: dict[str, Any] | None


def first_difference(first: HasColumns, second: HasColumns) -> Difference | None:
    """Return the first difference between two traces of one sample; none when they are equal.

    Records are matched by ``seq``. A record that one of the rings has lost is not compared, and
    ``sample``, a row number, is ignored.
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
