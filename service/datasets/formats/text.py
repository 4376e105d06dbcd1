"""The beginning of files of text, which can have a byte order mark."""

from __future__ import annotations

import codecs
from typing import Final

from service.problems import Problem

_OTHER_MARKS: Final = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


class TextStart:
    """Strips the byte order mark of a text that arrives in pieces."""

    def __init__(self) -> None:
        self._start: bytes | None = b""

    def strip(self, piece: bytes) -> bytes:
        """Return the next bytes without a byte order mark.

        The first three bytes are held back until all of them are there; :meth:`finish` returns
        those of a shorter text.

        Args:
            piece: The next bytes of the text.

        Raises:
            Problem: 400, the text is UTF-16.
        """
        if self._start is None:
            return piece
        start = self._start + piece
        if start.startswith(_OTHER_MARKS):
            raise Problem(400, "the body is UTF-16, not UTF-8; write it as UTF-8")
        if len(start) < len(codecs.BOM_UTF8):
            self._start = start
            return b""
        self._start = None
        return start.removeprefix(codecs.BOM_UTF8)

    def finish(self) -> bytes:
        """Return the bytes that were held back."""
        rest, self._start = self._start or b"", None
        return rest
