"""Where a command writes and asks: results on stdout, progress, errors and questions on stderr."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from io import TextIOWrapper
from typing import TYPE_CHECKING, Any

import orjson
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table

from service.cli.input.failures import CommandFailed

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

# Columns for tables where stdout is not a terminal.
WIDTH = 200
# Longest line of a table.
MAX_WIDTH = 10_000


def print_text(text: object = "") -> None:
    """Print a result for people; colours are written to a terminal only."""
    width = None if sys.stdout.isatty() else WIDTH
    console = Console(width=width, soft_wrap=True, highlight=False, markup=False)
    if isinstance(text, Table):
        # rich would cut names and ids, which other commands take; a terminal wraps long lines.
        wide = console.options.update(max_width=MAX_WIDTH)
        console.width = max(console.width, Measurement.get(console, wide, text).maximum)
    console.print(text)


def print_json(data: Any) -> None:
    """Print one line of JSON for scripts."""
    line = orjson.dumps(
        data, option=orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_APPEND_NEWLINE, default=str
    )
    if isinstance(sys.stdout, TextIOWrapper):
        # JSON is UTF-8, whatever the terminal shows.
        sys.stdout.flush()
        sys.stdout.buffer.write(line)
    else:
        # Python code has put a stream of text in its place.
        sys.stdout.write(line.decode())


def print_note(text: str) -> None:
    """Print to stderr what is not the result."""
    Console(stderr=True, soft_wrap=True, highlight=False, markup=False).print(text)


def confirm_deletion(what: str, *, is_confirmed: bool) -> None:
    """Ask whether something is to be deleted, if there is a person who can answer.

    Args:
        what: would be deleted.
        is_confirmed: whether ``--yes`` is given.

    Raises:
        CommandFailed: the answer is no.
    """
    # Scripts have no terminal as their input.
    if is_confirmed or not sys.stdin.isatty():
        return
    sys.stderr.write(f"Delete {what}? [y/N] ")
    sys.stderr.flush()
    try:
        answer = sys.stdin.readline()
    except KeyboardInterrupt:
        # What follows has a line of its own.
        sys.stderr.write("\n")
        raise
    if answer.strip().lower() not in ("y", "yes"):
        raise CommandFailed("nothing was deleted")


def properties_table(rows: Iterable[tuple[str, str]]) -> Table:
    """Return a table of names and values, a row each."""
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    table.add_column(style="bold")
    table.add_column()
    for name, value in rows:
        table.add_row(name, value)
    return table


def columns_table(columns: Iterable[str], left: Collection[str] | None = None) -> Table:
    """Return an empty table with a heading.

    Args:
        columns: names of the columns.
        left: the columns whose values are aligned to the left; all if not given.
    """
    table = Table(box=None, padding=(0, 2, 0, 0))
    for column in columns:
        table.add_column(column, justify="left" if left is None or column in left else "right")
    return table


def format_bytes(count: float) -> str:
    """Return a number of bytes in the unit that keeps it short."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(count) < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"


def count_things(number: int, singular: str, plural: str | None = None) -> str:
    """Return a number with the noun in the form that it takes, such as ``1 run``.

    Args:
        number: of things.
        singular: the noun for one.
        plural: the noun for any other number; by default the singular with an s.
    """
    return f"{number:,} {singular if number == 1 else plural or singular + 's'}"


class Activity:
    """The progress of a long command: a bar on a terminal, nothing elsewhere."""

    def __init__(self, progress: Progress | None, task: TaskID | None) -> None:
        self._progress = progress
        self._task = task

    def advance(self, done: int, total: int | None, text: str) -> None:
        """Show how much is done.

        Args:
            done: how many units are done.
            total: how many there are; ``None`` if that is not known.
            text: a line about it.
        """
        if self._progress is not None and self._task is not None:
            self._progress.update(self._task, completed=done, total=total, description=text)

    def note(self, text: str) -> None:
        """Print a line that remains."""
        if self._progress is None:
            print_note(text)
        else:
            self._progress.console.print(text, soft_wrap=True, highlight=False, markup=False)


@contextmanager
def activity(text: str) -> Iterator[Activity]:
    """Show progress on stderr until the block ends, if it is a terminal.

    Args:
        text: the first line.
    """
    if not sys.stderr.isatty():
        yield Activity(None, None)
        return
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    columns = (
        # The other spinners are not ASCII.
        SpinnerColumn("line"),
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=24),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        yield Activity(progress, progress.add_task(text, total=None))


@contextmanager
def uploading(file: object) -> Iterator[Callable[[int, int], None]]:
    """Show on stderr how much of a file has been sent, until the block ends.

    Args:
        file: its path, or what else it is called.

    Yields:
        A function to call with the number of bytes that are sent and the size of the file.
    """
    with activity(f"sending {file}") as shown:

        def on_progress(sent: int, size: int) -> None:
            text = f"sent {format_bytes(sent)} of {format_bytes(size)}"
            waiting = "" if sent < size else "; waiting for the server to check the file"
            shown.advance(sent, size, text + waiting)

        yield on_progress
