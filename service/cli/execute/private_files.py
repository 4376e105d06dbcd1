"""Files that only the user of the process can read."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

_UMASK = 0o077


@contextmanager
def private_files() -> Iterator[None]:
    """Give new folders the mode 0700 and new files 0600 until the end of the block."""
    before = os.umask(_UMASK)
    try:
        yield
    finally:
        os.umask(before)
