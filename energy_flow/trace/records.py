"""The schema of trace records, which the ring, the readers, the writers and the client share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from energy_flow.choices import Plane, Reason, TraceKind, Wall, names_of

Columns = Mapping[str, NDArray[Any]]
"""Arrays of one length by the names of :data:`COLUMN_DTYPES`."""

KINDS: Final = names_of(TraceKind)
REASONS: Final = names_of(Reason)
PLANES: Final = names_of(Plane)
WALL_BITS: Final[Mapping[str, int]] = {wall.value: wall.bit for wall in Wall}

SPAWN: Final = TraceKind.SPAWN.code
REFLECT: Final = TraceKind.REFLECT.code
TERMINATE: Final = TraceKind.TERMINATE.code


@dataclass(frozen=True, slots=True)
class Column:
    """A column of trace records.

    Attributes:
        dtype: of its numbers.
        meaning: one line; docs/trace_format.md has the details.
    """

    dtype: np.dtype[Any]
    meaning: str


def _column(dtype: type[np.generic], meaning: str) -> Column:
    return Column(np.dtype(dtype), meaning)


COLUMNS: Final[Mapping[str, Column]] = {
    "seq": _column(np.int64, "number of the record among its sample's, from 0; a gap is a loss"),
    "step": _column(np.int32, "in which it happened, from 0"),
    "kind": _column(np.uint8, ", ".join(KINDS)),
    "sample": _column(np.int32, "row in the request"),
    "flow": _column(np.int64, "id within the sample; of a spawn, the child's"),
    "parent": _column(np.int64, "flow that it came from; -1 for an initial flow"),
    "code": _column(
        np.uint8,
        "spawn: ordinal among its siblings of the step; reflect: wall bits; terminate: reason",
    ),
    "plane": _column(
        np.int8,
        "of a tallied termination: "
        f"{', '.join(f'{plane.code} {plane}' for plane in Plane)}; else -1",
    ),
    "x": _column(np.float32, "after the event, in [-1, 1]; of a spawn, where the child starts"),
    "y": _column(np.float32, "as x"),
    "z": _column(np.float32, "as x; input plane 0, exit planes -1 and 1"),
    "energy": _column(
        np.float32,
        "of the flow after the step; of a spawn, the parent's, which the child inherits",
    ),
    "length": _column(np.float32, "of the step's displacement; of a spawn, the parent's"),
}
"""Columns by name, in order. ``kind``, ``plane`` and reasons are codes of ``choices``."""

COLUMN_DTYPES: Final[Mapping[str, np.dtype[Any]]] = {
    name: column.dtype for name, column in COLUMNS.items()
}


class HasColumns(Protocol):
    """A trace: columns sorted by (sample, seq)."""

    @property
    def columns(self) -> Columns:
        """Return arrays by the names of :data:`COLUMN_DTYPES`."""
        ...
