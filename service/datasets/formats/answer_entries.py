"""The entries of answers of an embeddings API, cut out of JSON that arrives in pieces."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any, Final

from energy_flow.embedding_answers import DATA, EMBEDDING
from service.datasets.formats.json_brackets import JsonBrackets, check_between
from service.problems import Problem
from service.requests.json_body import parse_value
from service.requests.large_arrays import malformed

MAX_ENTRY_BYTES: Final = 8 * 2**20
"""Longest entry; memory has several copies of its numbers."""

MAX_REST_BYTES: Final = 2**20
"""Most bytes of an answer beside its entries."""

_DATA: Final = re.compile(rb'(?<!\\)"%b"[ \t\r\n]*:[ \t\r\n]*\Z' % DATA.encode())
_ENTRIES_ARE: Final = "the entries of data must be objects"
_NAME: Final = b'"%b"' % EMBEDDING.encode()
_DATA_BYTES: Final = 1000
"""Bytes before a list in which the name of its member is looked for."""


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry of an answer.

    Attributes:
        text: JSON text of an object.
    """

    text: bytes


@dataclass(frozen=True, slots=True)
class AnswerEnd:
    """The end of an answer."""


class _Place(Enum):
    """Where the next byte is."""

    OUTSIDE = auto()
    """Between answers."""
    HEAD = auto()
    """In an answer, before its entries."""
    ENTRIES = auto()
    """Between entries, or in one."""
    TAIL = auto()
    """In an answer, after its entries."""


class AnswerSplitter:
    """Splits answers, of which several may follow each other, into their entries.

    Only white space may be between answers.
    """

    def __init__(self) -> None:
        self._place = _Place.OUTSIDE
        # What is needed begins with the present entry, or with what is beside the entries.
        self._json = JsonBrackets()
        self._depth = 0
        self._head = b""
        self._has_entries = False

    def feed(self, piece: bytes) -> Iterator[Entry | AnswerEnd]:
        """Take the next bytes.

        Args:
            piece: Bytes of any number.

        Yields:
            The entries and the ends that are complete now, in order.

        Raises:
            Problem: 400, they are not JSON, or no answer.
        """
        self._json.feed(piece)
        while (found := self._json.find_next()) is not None:
            yield from self._take(found)
        is_in_entries = self._place is _Place.ENTRIES
        limit = MAX_ENTRY_BYTES if is_in_entries else MAX_REST_BYTES
        if self.pending_bytes > limit:
            what = "an entry" if is_in_entries else "an answer beside its entries"
            raise malformed(f"{what} is longer than the limit of {limit:,} bytes")

    def finish(self) -> None:
        """Check the end.

        Raises:
            Problem: 400, the last answer is incomplete.
        """
        if self._place is not _Place.OUTSIDE or self._json.pending.strip():
            raise malformed("it ends within an answer")

    @property
    def pending_bytes(self) -> int:
        """Bytes that are not yet part of a complete entry or answer."""
        return len(self._json.pending)

    @property
    def begun_entry(self) -> bytes:
        """What is there of an entry that is not complete; empty beside the entries."""
        return self._json.pending if self._place is _Place.ENTRIES else b""

    def _take(self, offset: int) -> Iterator[Entry | AnswerEnd]:
        """Take the bracket at an offset."""
        character = self._json.text[offset : offset + 1]
        before = self._json.text[self._json.start : offset]
        depth = self._depth
        self._depth += 1 if character in b"[{" else -1
        match self._place, depth, character:
            case _Place.OUTSIDE, _, _:
                if character != b"{" or before.strip():
                    raise malformed("an answer must be an object")
                self._place, self._json.start = _Place.HEAD, offset
            case _Place.HEAD, 1, b"[" if _DATA.search(before[-_DATA_BYTES:]):
                self._head = before
                self._place, self._has_entries = _Place.ENTRIES, False
                self._json.start = offset + 1
            case _Place.HEAD, 1, b"}":
                raise malformed("an answer has no member data with a list of entries")
            case _Place.ENTRIES, 2, b"{":
                check_between(before, b"," if self._has_entries else b"", _ENTRIES_ARE)
                self._json.start = offset
            case _Place.ENTRIES, 3, b"}":
                self._has_entries, self._json.start = True, offset + 1
                yield Entry(before + character)
            case _Place.ENTRIES, 2, b"]":
                check_between(before, b"", _ENTRIES_ARE)
                self._place, self._json.start = _Place.TAIL, offset + 1
            case _Place.ENTRIES, 2, _:
                raise malformed("an entry of data must be an object")
            case _Place.TAIL, 1, b"}":
                _check_rest(self._head + b"[]" + before + character)
                self._place, self._json.start = _Place.OUTSIDE, offset + 1
                yield AnswerEnd()


def begins_answer(start: bytes) -> bool | None:
    """Return whether JSON begins as an answer with embeddings; ``None`` if that shows later.

    Args:
        start: The first bytes.
    """
    splitter = AnswerSplitter()
    try:
        first = next(splitter.feed(start), None)
    except Problem:
        return False
    if first is None:
        return True if _NAME in splitter.begun_entry else None
    return isinstance(first, Entry) and _NAME in first.text


def _check_rest(text: bytes) -> None:
    """Check that an answer is JSON, apart from its entries, which are parsed by themselves."""
    document: Any = parse_value(text)
    if document.get(DATA) != []:
        raise malformed("an answer has the member data twice")
