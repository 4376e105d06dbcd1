"""The columns of a file that hold the embeddings and the targets: tensors, columns or members."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Final, Literal, TypeAlias

from energy_flow.choices import TARGET_NAMES, unknown_name
from energy_flow.errors import Fault

Part: TypeAlias = Literal["inputs", "targets"]

NAMES: Final[dict[Part, tuple[str, ...]]] = {
    "inputs": ("embeddings", "embedding", "inputs", "input", "vector"),
    "targets": TARGET_NAMES,
}
"""Names of the columns; none has priority."""

_BESIDE: Final = frozenset(
    ("", "id", "index", "__index_level_0__", "Unnamed: 0", *NAMES["targets"])
)
"""Columns of numbers that are no part of an embedding."""

_MIN_SPREAD: Final = 2
"""Columns of numbers that make an embedding. A single one is more often something else."""


class Content(Enum):
    """What a column holds for each row."""

    ROWS = auto()
    """Numbers."""
    NUMBER = auto()
    """One number."""
    OTHER = auto()
    """Anything else."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a file.

    Attributes:
        name: Its name.
        content: What it holds.
        description: The same in the words of the format, for messages.
    """

    name: str
    content: Content
    description: str


@dataclass(frozen=True, slots=True)
class Selection:
    """What is read of a file.

    Attributes:
        column: Name of the column of the embeddings, if it was given.
        start: First row.
        stop: Row after the last one; ``None`` stands for the end.
        has_targets: Whether targets are read.
    """

    column: str | None = None
    start: int = 0
    stop: int | None = None
    has_targets: bool = True

    def within(self, first: int, count: int) -> slice:
        """Return which of consecutive rows are selected, counted from the first of them.

        Args:
            first: Index of the first of them in the file.
            count: Their number.
        """
        start = min(max(self.start - first, 0), count)
        stop = count if self.stop is None else min(max(self.stop - first, start), count)
        return slice(start, stop)


@dataclass(frozen=True, slots=True)
class ChosenColumns:
    """The columns that are read, by part.

    Attributes:
        parts: Names of the columns of each part that is there. Several of them have a number of
            each row.
        faults: Why none can be chosen.
    """

    parts: dict[Part, tuple[str, ...]] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)

    @property
    def names(self) -> list[str]:
        """Names of all chosen columns."""
        return [name for names in self.parts.values() for name in names]


def choose_columns(
    columns: Sequence[Column],
    selection: Selection,
    rows_are: str,
    *,
    may_be_spread: bool = False,
) -> ChosenColumns:
    """Choose the columns of the embeddings and of the targets.

    Args:
        columns: All columns of the file.
        selection: What is to be read.
        rows_are: What a column of embeddings must be, for messages.
        may_be_spread: Whether columns of one number each can be the embeddings together.
    """
    chosen = ChosenColumns()
    found = _find_inputs(columns, selection, rows_are, may_be_spread=may_be_spread)
    if isinstance(found, Fault):
        chosen.faults.append(found)
    else:
        chosen.parts["inputs"] = found
    if selection.has_targets:
        targets = [
            column.name
            for column in columns
            if column.name in NAMES["targets"]
            and column.name not in chosen.parts.get("inputs", ())
            and column.content is not Content.OTHER
        ]
        if len(targets) > 1:
            message = f"is there several times, as {', '.join(targets)}; keep one of them"
            chosen.faults.append(Fault((targets[0],), message, targets))
        elif targets:
            chosen.parts["targets"] = (targets[0],)
    return chosen


def _find_inputs(
    columns: Sequence[Column], selection: Selection, rows_are: str, *, may_be_spread: bool
) -> tuple[str, ...] | Fault:
    if selection.column is not None:
        named = [column for column in columns if column.name == selection.column]
        if len(named) > 1:
            return Fault((selection.column,), "is there several times; rename it", len(named))
        if not named:
            known = unknown_name(selection.column, [column.name for column in columns][:10])
            message = f"is not in the file; {known}"
            return Fault((selection.column,), message, selection.column)
        return _require_rows(named[0], rows_are)
    candidates = [column for column in columns if column.name in NAMES["inputs"]]
    numeric = [column.name for column in candidates if column.content is Content.ROWS]
    if len(numeric) > 1:
        message = (
            f"is there several times, as {', '.join(numeric)}; choose one with column "
            "(--column on the command line)"
        )
        return Fault((numeric[0],), message, numeric)
    if numeric:
        return (numeric[0],)
    others = [column for column in columns if column.name not in NAMES["targets"]]
    if len(others) == len(columns) == 1 and others[0].content is Content.ROWS:
        return (others[0].name,)
    spread = _find_spread(others) if may_be_spread else ()
    if len(spread) >= _MIN_SPREAD:
        # A file may have millions of columns.
        twice = next((name for name, count in Counter(spread).items() if count > 1), None)
        return Fault((twice,), "is there several times; rename it", twice) if twice else spread
    if candidates:
        return _require_rows(candidates[0], rows_are)
    return _require_name(columns)


def _require_rows(column: Column, rows_are: str) -> tuple[str, ...] | Fault:
    if column.content is Content.ROWS:
        return (column.name,)
    return Fault((column.name,), f"must be {rows_are}, not {column.description}", None)


def _require_name(columns: Iterable[Column]) -> Fault:
    names = NAMES["inputs"]
    message = (
        f"is required; its name can be {', '.join(names)}, or choose another one with column "
        "(--column on the command line)"
    )
    return Fault((names[0],), message, sorted(column.name for column in columns)[:10])


def _find_spread(columns: Sequence[Column]) -> tuple[str, ...]:
    """Return the columns that have a number of each row; none if another one has rows."""
    if any(column.content is Content.ROWS for column in columns):
        return ()
    return tuple(
        column.name
        for column in columns
        if column.content is Content.NUMBER and column.name not in _BESIDE
    )
