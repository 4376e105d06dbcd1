"""The columns of a file that hold the embeddings and the targets: tensors, columns or members."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import Enum, auto
from typing import Final, Literal, TypeAlias

from energy_flow.choices import TARGET_NAMES, unknown_name
from energy_flow.errors import Fault
from service.problems import cut_text

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

_ENCODE: Final = "make embeddings of texts first, with energy-flow embed FILE --column NAME"
"""What to do with texts, for messages."""

_NUMBER: Final = re.compile("[0-9]+")

_MAX_UNLIKE: Final = 3
"""Columns that are named as unlike all others; of more, the others have no common form."""

_MAX_LISTED: Final = 5
"""Columns that are named of those that are left out."""


class Content(Enum):
    """What a column holds for each row."""

    ROWS = auto()
    """Numbers."""
    NUMBER = auto()
    """One number."""
    TEXT = auto()
    """A text."""
    OTHER = auto()
    """Anything else."""


_NUMERIC: Final = (Content.ROWS, Content.NUMBER)


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
        target_column: Name of the column of the targets, if it was given.
        start: First row.
        stop: Row after the last one; ``None`` stands for the end.
        has_targets: Whether targets are read.
    """

    column: str | None = None
    start: int = 0
    stop: int | None = None
    has_targets: bool = True
    target_column: str | None = None

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
class PartSource:
    """The columns that a part was read from. A file may have millions of them.

    Attributes:
        count: How many they are.
        first: Name of the first one.
        last: Name of the last one.
        unlike: Names of up to three that are not numbered as all others are; they may be no part
            of an embedding.
    """

    count: int
    first: str
    last: str
    unlike: tuple[str, ...] = ()

    @classmethod
    def of(cls, names: Sequence[str]) -> PartSource:
        """Return the source of a part from the names of its columns, at least one."""
        return cls(len(names), cut_text(names[0]), cut_text(names[-1]), _find_unlike(names))


def _find_unlike(names: Sequence[str]) -> tuple[str, ...]:
    forms = [_NUMBER.sub("#", name) for name in names]
    (most, count), *_ = Counter(forms).most_common(1)
    is_numbered = "#" in most and count > _MAX_UNLIKE * _MAX_UNLIKE
    if not is_numbered or len(names) - count > _MAX_UNLIKE:
        return ()
    return tuple(cut_text(name) for name, form in zip(names, forms, strict=True) if form != most)


@dataclass(frozen=True, slots=True)
class FileSource:
    """What was read of a file.

    Attributes:
        kind: What the format calls a column: ``column``, ``tensor`` or ``member``.
        parts: Where each part came from, by its name.
        left_out: Names of the first columns that were not read.
        left_out_count: How many were not read.
    """

    kind: str
    parts: dict[str, PartSource]
    left_out: tuple[str, ...] = ()
    left_out_count: int = 0


@dataclass(frozen=True, slots=True)
class ChosenColumns:
    """The columns that are read, by part.

    Attributes:
        parts: Names of the columns of each part that is there. Several of them have a number of
            each row.
        faults: Why none can be chosen.
        left_out: Names of the other columns.
    """

    parts: dict[Part, tuple[str, ...]] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    left_out: tuple[str, ...] = ()

    @property
    def names(self) -> list[str]:
        """Names of all chosen columns."""
        return [name for names in self.parts.values() for name in names]

    def describe(self, kind: str) -> FileSource:
        """Return what is read of the file, in few words.

        Args:
            kind: What the format calls a column.
        """
        parts: dict[str, PartSource] = {
            part: PartSource.of(names) for part, names in self.parts.items()
        }
        listed = tuple(map(cut_text, self.left_out[:_MAX_LISTED]))
        return FileSource(kind, parts, listed, len(self.left_out))


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
        target = _find_target(columns, selection, frozenset(chosen.parts.get("inputs", ())))
        if isinstance(target, Fault):
            chosen.faults.append(target)
        elif target is not None:
            chosen.parts["targets"] = (target,)
    read = frozenset(chosen.names)
    return replace(
        chosen, left_out=tuple(column.name for column in columns if column.name not in read)
    )


def _find_target(
    columns: Sequence[Column], selection: Selection, inputs: frozenset[str]
) -> str | Fault | None:
    if selection.target_column is not None:
        column = _find_named(columns, selection.target_column)
        if isinstance(column, Fault):
            return column
        if column.name in inputs:
            message = "is the column of the embeddings; name another one for the targets"
            return Fault((column.name,), message, None)
        if column.content not in _NUMERIC:
            message = f"must hold numbers, or rows of numbers, not {column.description}"
            return Fault((column.name,), message, None)
        return column.name
    targets = [
        column.name
        for column in columns
        if column.name in NAMES["targets"]
        and column.name not in inputs
        and column.content in _NUMERIC
    ]
    if len(targets) > 1:
        message = f"is there several times, as {', '.join(targets)}; keep one of them"
        return Fault((targets[0],), message, targets)
    return targets[0] if targets else None


def _find_named(columns: Sequence[Column], name: str) -> Column | Fault:
    named = [column for column in columns if column.name == name]
    if len(named) > 1:
        return Fault((name,), "is there several times; rename it", len(named))
    if not named:
        known = unknown_name(name, [column.name for column in columns][:10])
        return Fault((name,), f"is not in the file; {known}", name)
    return named[0]


def _find_inputs(
    columns: Sequence[Column], selection: Selection, rows_are: str, *, may_be_spread: bool
) -> tuple[str, ...] | Fault:
    if selection.column is not None:
        column = _find_named(columns, selection.column)
        return column if isinstance(column, Fault) else _require_rows(column, rows_are)
    # The column that is named as the targets is no part of the embeddings.
    columns = [column for column in columns if column.name != selection.target_column]
    candidates = [column for column in columns if column.name in NAMES["inputs"]]
    numeric = [column.name for column in candidates if column.content is Content.ROWS]
    if len(numeric) > 1:
        message = (
            f"is there several times, as {', '.join(numeric)}; choose one with column "
            "(--column in commands)"
        )
        return Fault((numeric[0],), message, numeric)
    if numeric:
        return (numeric[0],)
    others = [column for column in columns if column.name not in NAMES["targets"]]
    rows = [column.name for column in others if column.content is Content.ROWS]
    if len(rows) == 1:
        return (rows[0],)
    is_single = len(others) == len(columns) == 1 and others[0].name not in _BESIDE
    if is_single and others[0].content is Content.NUMBER and not may_be_spread:
        # Such as a tensor with one axis.
        return _require_rows(others[0], rows_are)
    spread = _find_spread(others) if may_be_spread else ()
    if len(spread) >= _MIN_SPREAD:
        # A file may have millions of columns.
        twice = next((name for name, count in Counter(spread).items() if count > 1), None)
        return Fault((twice,), "is there several times; rename it", twice) if twice else spread
    if candidates:
        return _require_rows(candidates[0], rows_are)
    return _require_name(columns, rows)


def _require_rows(column: Column, rows_are: str) -> tuple[str, ...] | Fault:
    if column.content is Content.ROWS:
        return (column.name,)
    message = f"must be {rows_are}, not {column.description}"
    if column.content is Content.TEXT:
        message = f"{message}; {_ENCODE}"
    return Fault((column.name,), message, None)


def _require_name(columns: Sequence[Column], rows: Sequence[str]) -> Fault:
    names = NAMES["inputs"]
    if rows:
        listed = ", ".join(map(repr, map(cut_text, rows[:_MAX_LISTED])))
        more = len(rows) - _MAX_LISTED
        message = (
            f"can be any of {listed}{f' and {more} more' if more > 0 else ''}; choose one with "
            "column (--column in commands)"
        )
        return Fault((names[0],), message, len(rows))
    known = sorted(column.name for column in columns)[:10]
    texts = [column.name for column in columns if column.content is Content.TEXT]
    if texts and not any(column.content in _NUMERIC for column in columns):
        return Fault((texts[0],), f"holds texts, and no column holds numbers; {_ENCODE}", known)
    message = (
        f"is required; its name can be {', '.join(names)}, or choose another one with column "
        "(--column in commands)"
    )
    return Fault((names[0],), message, known)


def _find_spread(columns: Sequence[Column]) -> tuple[str, ...]:
    """Return the columns that have a number of each row; none if another one has rows."""
    if any(column.content is Content.ROWS for column in columns):
        return ()
    return tuple(
        column.name
        for column in columns
        if column.content is Content.NUMBER and column.name not in _BESIDE
    )
