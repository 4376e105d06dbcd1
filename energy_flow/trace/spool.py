"""``Spool``: a file in memory whose content is removed while it is being written."""

from __future__ import annotations

import io
from typing import Any


class Spool(io.RawIOBase):
    """Collects what a writer writes until :meth:`take` returns it."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._position = 0

    def writable(self) -> bool:
        """Return True."""
        return True

    def write(self, data: Any, /) -> int:
        """Append bytes, and return how many."""
        piece = bytes(data)
        self._pieces.append(piece)
        self._position += len(piece)
        return len(piece)

    def tell(self) -> int:
        """Return how many bytes were written in total."""
        return self._position

    def take(self) -> bytes:
        """Return what was written since the last call."""
        pieces, self._pieces = self._pieces, []
        return b"".join(pieces)
