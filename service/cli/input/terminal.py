"""Where a command's words go: results to stdout, progress and errors to stderr."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn


def print_text(text: object = "") -> None:
    """Prints a result for people; colours only reach a terminal."""
    # Elsewhere there is no edge to wrap at; a table still needs to be told.
    width = None if sys.stdout.isatty() else 200
    Console(width=width, soft_wrap=True, highlight=False, markup=False).print(text)


def print_json(data: Any) -> None:
    """Prints one line of JSON for scripts."""
    line = orjson.dumps(
        data, option=orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_APPEND_NEWLINE, default=str
    )
    sys.stdout.write(line.decode())


def print_note(text: str) -> None:
    """Prints something that is not the result, to stderr."""
    Console(stderr=True, soft_wrap=True, highlight=False, markup=False).print(text)


def format_bytes(count: float) -> str:
    """Bytes in the unit that keeps the number short."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(count) < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"


class Activity:
    """Tells how far a long command is: a bar on a terminal, now and then a line elsewhere."""

    def __init__(self, progress: Progress | None, task: TaskID | None) -> None:
        self._progress = progress
        self._task = task
        self._told_at = 0

    def advance(self, done: int, total: int | None, text: str) -> None:
        """Reports that ``done`` of ``total`` are done; ``None`` if that is not known."""
        if self._progress is not None and self._task is not None:
            self._progress.update(self._task, completed=done, total=total, description=text)
            return
        # About ten lines for a whole run, however long.
        if total is None or done >= self._told_at + max(1, total // 10) or done == total:
            self._told_at = done
            print_note(text)

    def note(self, text: str) -> None:
        """Prints a line that stays."""
        if self._progress is None:
            print_note(text)
        else:
            self._progress.console.print(text, soft_wrap=True, highlight=False, markup=False)


@contextmanager
def upload(file: Path) -> Iterator[Callable[[int, int], None]]:
    """Shows on stderr how much of a file has been sent; yields what is to be told of it."""
    with activity(f"sending {file}") as shown:

        def on_progress(sent: int, size: int) -> None:
            text = f"sent {format_bytes(sent)} of {format_bytes(size)}"
            shown.advance(sent, size, text if sent < size else f"{text}; the server checks it")

        yield on_progress


@contextmanager
def activity(text: str) -> Iterator[Activity]:
    """Shows on stderr that something goes on, until the block ends."""
    console = Console(stderr=True)
    if not console.is_terminal:
        print_note(text)
        yield Activity(None, None)
        return
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=24),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        yield Activity(progress, progress.add_task(text, total=None))
