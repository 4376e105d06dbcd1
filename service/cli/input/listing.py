"""Lists that fit the terminal, with notes of what is left out of them."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Final, TypeVar

from rich.console import Console
from rich.measure import Measurement
from rich.table import Column, Table

from service.cli.input.terminal import MAX_WIDTH, print_note, print_text

T = TypeVar("T")

MIN_TEXT_WIDTH: Final = 16
"""Least width to which a column of texts is cut; a narrower one is left out."""


def take_listed(items: Iterable[T], limit: int) -> list[T]:
    """Return the first items of a list, and print to stderr if there are more.

    Args:
        items: the list.
        limit: most items that are wanted.
    """
    taken = list(islice(items, limit + 1))
    if len(taken) > limit:
        print_note(f"note: only the first {limit:,} are listed; --limit N lists more")
    return taken[:limit]


def print_listed(table: Table, optional: Sequence[str], text: str | None = None) -> None:
    """Print a list; on a terminal that is too narrow, without some of its columns.

    Args:
        table: the list.
        optional: columns that may be left out, the least important first.
        text: the column of texts for people, which may be cut as well.
    """
    left_out = _fit(table, optional, text) if sys.stdout.isatty() else []
    print_text(table)
    if left_out:
        names = ", ".join(left_out)
        print_note(f"note: a wider terminal also shows {names}; --json prints everything")


def _fit(table: Table, optional: Sequence[str], text: str | None) -> list[str]:
    """Leave out columns of a table until it fits the terminal; return their names."""
    console = Console()
    wide = console.options.update(max_width=MAX_WIDTH)
    left_out: list[str] = []

    def excess() -> int:
        return Measurement.get(console, wide, table).maximum - console.width

    def find(name: str) -> Column | None:
        return next((column for column in table.columns if column.header == name), None)

    for name in optional:
        over = excess()
        if over <= 0:
            break
        column = find(name)
        if column is None:
            continue
        width = max((len(str(cell)) for cell in column.cells), default=0)
        if name == text and width - over >= MIN_TEXT_WIDTH:
            column.max_width, column.no_wrap = width - over, True
            column.overflow = "ellipsis"
            break
        table.columns.remove(column)
        left_out.append(name)
    return left_out
