"""Tables and lines of text for people."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.table import Table

WIDTH = 132


def console() -> Console:
    """Return a console that prints to stdout, wide enough for tables if that is a file."""
    plain = Console(highlight=False)
    return plain if plain.is_terminal else Console(highlight=False, width=WIDTH)


def show(
    title: str, columns: Sequence[str], rows: Iterable[Sequence[object]], note: str = ""
) -> None:
    """Print a table.

    Args:
        title: line above the table.
        columns: names of the columns; the first has text, the others have figures.
        rows: a value for each column.
        note: text below the table.
    """
    table = Table(title=title, caption=note or None, title_justify="left", caption_justify="left")
    for index, column in enumerate(columns):
        table.add_column(column, justify="right" if index else "left", overflow="fold")
    for row in rows:
        table.add_row(*(cell_text(cell) for cell in row))
    console().print(table)


def print_line(text: str) -> None:
    """Print a line.

    Args:
        text: the line.
    """
    console().print(text)


def cell_text(value: object) -> str:
    """Return a value as the text of a table cell."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    return str(value)
