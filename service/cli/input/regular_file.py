"""Files that are no files: pipes, as of ``<(...)`` in a shell."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from service.cli.input.failures import require_file


@contextmanager
def regular_file(path: Path) -> Iterator[Path]:
    """Copy a pipe to a file, which has a size and can be read twice; take a file as it is.

    Args:
        path: a file or a pipe.

    Yields:
        The file, or the copy, which is removed at the end of the block.

    Raises:
        CommandFailed: there is neither.
        OSError: the pipe cannot be read, or the copy cannot be written.
    """
    if not path.is_fifo():
        require_file(path)
        yield path
        return
    with TemporaryDirectory(prefix="energy-flow-") as folder:
        copy = Path(folder) / path.name
        with path.open("rb") as pipe, copy.open("wb") as file:
            shutil.copyfileobj(pipe, file)
        yield copy
