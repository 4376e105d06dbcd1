"""``JsonBrackets``: the brackets of JSON that arrives in pieces."""

from __future__ import annotations

import re
from typing import Final

from service.requests.large_arrays import malformed

_STRUCTURE: Final = re.compile(rb'["\[\]{}]')
_END_OF_STRING: Final = re.compile(rb'["\\]')


class JsonBrackets:
    """Finds the brackets of JSON, of which only a part is held.

    Attributes:
        text: What is held of the JSON.
        start: Offset in the text from which it is still needed; set by the owner.
    """

    def __init__(self) -> None:
        self.text = b""
        self.start = 0
        # How far the text has been searched.
        self._at = 0
        self._is_in_string = False

    @property
    def pending(self) -> bytes:
        """What is still needed."""
        return self.text[self.start :]

    def feed(self, piece: bytes) -> None:
        """Take the next bytes, and forget those that are not needed.

        Args:
            piece: Bytes of any number.
        """
        self.text = self.text[self.start :] + piece
        self._at -= self.start
        self.start = 0

    def find_next(self) -> int | None:
        """Return the offset of the next bracket; ``None`` if more bytes are needed."""
        while True:
            pattern = _END_OF_STRING if self._is_in_string else _STRUCTURE
            found = pattern.search(self.text, self._at)
            if found is None:
                self._at = len(self.text)
                return None
            character = found[0]
            if character == b"\\":
                if found.end() == len(self.text):
                    self._at = found.start()
                    return None
                self._at = found.end() + 1
                continue
            self._at = found.end()
            if character == b'"':
                self._is_in_string = not self._is_in_string
                continue
            return found.start()


def check_between(text: bytes, expected: bytes, what: str) -> None:
    """Check what stands between the entries of a list.

    Args:
        text: The JSON between two of them.
        expected: A comma, or nothing at the beginning and at the end.
        what: What the entries are, for messages.

    Raises:
        Problem: 400, it is something else.
    """
    if text.strip() != expected:
        raise malformed(f"{what} with a comma between them")
