"""Files that are no files: stdin, and pipes, as of ``<(...)`` in a shell."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, Final

from service.cli.input.failures import require_file

STDIN: Final = Path("-")
"""Stands for stdin where a file can be given."""


def is_stream(path: Path) -> bool:
    """Return whether a path stands for stdin or a pipe, which can be read once."""
    return path == STDIN or path.is_fifo()


def describe_path(path: Path) -> str:
    """Return what a path stands for, for messages."""
    return "stdin" if path == STDIN else str(path)


@contextmanager
def regular_file(path: Path) -> Iterator[Path]:
    """Copy a pipe or stdin to a file, which has a size and can be read twice.

    Args:
        path: a file, a pipe, or ``-`` for stdin.

    Yields:
        The file, or the copy, which is removed at the end of the block.

    Raises:
        CommandFailed: there is none.
        OSError: the pipe cannot be read, or the copy cannot be written.
    """
    if not is_stream(path):
        require_file(path)
        yield path
        return
    with TemporaryDirectory(prefix="energy-flow-") as folder:
        copy = Path(folder) / ("stdin" if path == STDIN else path.name)
        with _open_stream(path) as pipe, copy.open("wb") as file:
            shutil.copyfileobj(pipe, file)
        yield copy


@contextmanager
def _open_stream(path: Path) -> Iterator[IO[bytes]]:
    if path == STDIN:
        # It is not closed.
        yield sys.stdin.buffer
        return
    with path.open("rb") as pipe:
        yield pipe
