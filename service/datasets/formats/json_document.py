"""JSON documents: a list of rows or of objects, or an object with lists of rows as members."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Final

from energy_flow.array_likes import one_row_is
from energy_flow.errors import Fault
from service.datasets.formats.json_brackets import JsonBrackets, check_between
from service.datasets.formats.jsonl import MAX_LINE_BYTES, JsonLinesReader, ListMember
from service.datasets.formats.rows import Rows
from service.datasets.formats.text import TextStart
from service.problems import Problem, invalid
from service.requests.columns import NAMES, ChosenColumns, Part, Selection
from service.requests.json_body import parse_json
from service.requests.large_arrays import malformed

MAX_REST_BYTES: Final = 2**20
"""Most bytes of a document beside its rows."""

_INPUTS: Final = ("embeddings", "inputs")
"""Members that hold all rows. The other names of inputs are those of one row."""

_NAME_BYTES: Final = 1000
"""Bytes before a list in which the name of its member is looked for."""
_NAME: Final = re.compile(rb'(?<!\\)"([^"\\]*)"[ \t\r\n]*:[ \t\r\n]*\Z')
_LINE_BREAKS: Final = bytes.maketrans(b"\r\n", b"  ")
_ENTRIES_ARE: Final = "the rows of a list must be lists or objects"


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry of a list.

    Attributes:
        member: The member that has the list; ``None`` for the document itself.
        text: JSON text of a list or an object.
    """

    member: str | None
    text: bytes


class DocumentSplitter:
    """Splits a document into the entries of its lists.

    Args:
        members: Members of an object whose lists are split.

    Attributes:
        begun: Members of which a row has begun.
    """

    def __init__(self, members: Collection[str]) -> None:
        self._members = frozenset(members)
        self._json = JsonBrackets()
        self._depth = 0
        self._is_object = False
        self._is_complete = False
        self._member: str | None = None
        self._has_entries = False
        self._rest = b""
        self.begun: set[str] = set()

    def feed(self, piece: bytes) -> Iterator[Entry]:
        """Take the next bytes.

        Args:
            piece: Bytes of any number.

        Yields:
            The entries that are complete now, in order.

        Raises:
            Problem: 400, they are no JSON document; 422, a member is given twice or has no rows.
        """
        self._json.feed(piece)
        while (found := self._json.find_next()) is not None:
            yield from self._take(found)
        limit = MAX_LINE_BYTES if self._entry_depth is not None else MAX_REST_BYTES
        if len(self._json.pending) + len(self._rest) > limit + MAX_REST_BYTES:
            raise malformed(f"a row, or what is beside the rows, is longer than {limit:,} bytes")

    def finish(self) -> list[str]:
        """Check the end, and return the names of the members beside the lists that were split.

        Raises:
            Problem: 400, the document is incomplete, or more follows.
        """
        if not self._is_complete or self._json.pending.strip():
            raise malformed("it ends within a list or an object" if self._depth else "text follows")
        if not self._is_object:
            return []
        return [name for name in parse_json(self._rest) if name not in self.begun]

    @property
    def is_complete(self) -> bool:
        """Whether the document has ended."""
        return self._is_complete

    @property
    def pending_bytes(self) -> int:
        """Bytes that are not yet part of a complete entry."""
        return len(self._json.pending)

    @property
    def _entry_depth(self) -> int | None:
        """How many brackets are open around an entry; ``None`` outside of lists that are split."""
        if self._member is not None:
            return 2
        return 1 if self._depth and not self._is_object else None

    def _take(self, offset: int) -> Iterator[Entry]:
        """Take the bracket at an offset."""
        character = self._json.text[offset : offset + 1]
        before = self._json.text[self._json.start : offset]
        is_opening = character in b"[{"
        depth, entry_depth = self._depth, self._entry_depth
        self._depth += 1 if is_opening else -1
        if depth == 0:
            if self._is_complete or not is_opening or before.strip():
                raise malformed("text follows the end of the document")
            self._is_object = character == b"{"
            self._json.start = offset if self._is_object else offset + 1
        elif entry_depth is None:
            self._take_beside(character, offset, depth)
        elif depth == entry_depth:
            check_between(
                before, b"," if is_opening and self._has_entries else b"", self._entries_are(before)
            )
            self._json.start = offset
            if is_opening:
                if self._member is not None:
                    self.begun.add(self._member)
            elif self._member is None:
                if character != b"]":
                    raise malformed("a list ends with }")
                self._is_complete, self._json.start = True, offset + 1
            else:
                self._member = None
        elif depth == entry_depth + 1 and not is_opening:
            self._has_entries, self._json.start = True, offset + 1
            yield Entry(self._member, before + character)

    def _take_beside(self, character: bytes, offset: int, depth: int) -> None:
        """Take a bracket beside the lists that are split."""
        before = self._json.text[self._json.start : offset]
        if depth == 1 and character == b"[":
            name = _NAME.search(before[-_NAME_BYTES:])
            member = name[1].decode(errors="replace") if name else None
            if member in self._members:
                if member in self.begun:
                    raise invalid([Fault((member,), "is given twice", None)])
                self._rest += before + b"["
                self._member, self._has_entries = member, False
                self._json.start = offset + 1
        elif depth == 1 and character == b"}":
            self._rest += before + character
            self._is_complete, self._json.start = True, offset + 1

    def _entries_are(self, before: bytes) -> str:
        if self._member is not None and not self._has_entries and before.strip():
            raise invalid([Fault((self._member,), f"must be a list of rows; {one_row_is()}", None)])
        return _ENTRIES_ARE


class JsonDocumentReader:
    """A reader of a JSON document.

    Args:
        rows: Receives the rows.
    """

    def __init__(self, rows: Rows) -> None:
        self._rows = rows
        self._text = TextStart()
        self._parts = _parts_of(rows.selection)
        self._splitter = DocumentSplitter(self._parts)
        self._readers: dict[str | None, JsonLinesReader] = {}

    @property
    def pending_bytes(self) -> int:
        """Bytes of a row that is not complete."""
        return self._splitter.pending_bytes

    def feed(self, piece: bytes) -> None:
        """Read the next bytes, as :meth:`DatasetReader.feed`."""
        lines: list[bytes] = []
        member: str | None = None
        for entry in self._splitter.feed(self._text.strip(piece)):
            if entry.member != member:
                self._read(member, lines)
                lines, member = [], entry.member
            # White space between numbers; strings have no line breaks.
            lines.append(entry.text.translate(_LINE_BREAKS))
        self._read(member, lines)

    def finish(self) -> None:
        """Check the end of the file, as :meth:`DatasetReader.finish`."""
        self.feed(self._text.finish())
        if self._rows.is_complete:
            return
        beside = self._splitter.finish()
        for reader in self._readers.values():
            reader.finish()
        if self._splitter.begun:
            parts: dict[Part, tuple[str, ...]] = {
                self._parts[name]: (name,)
                for name in self._readers
                if name is not None and name in self._parts
            }
            skipped = [name for name in self._splitter.begun if name not in self._readers]
            chosen = ChosenColumns(parts, left_out=(*beside, *skipped))
            self._rows.source = chosen.describe("member")

    def _read(self, name: str | None, lines: list[bytes]) -> None:
        """Read some entries of one list."""
        if not lines or self._rows.is_complete:
            return
        part = None if name is None else self._parts[name]
        if part == "targets" and not self._rows.selection.has_targets:
            return
        if name not in self._readers:
            member = None if name is None or part is None else ListMember(part, name)
            others = [one for one in self._readers if one and self._parts[one] == part]
            if others:
                message = f"is there several times, as {others[0]}, {name}; keep one of them"
                raise invalid([Fault((others[0],), message, None)])
            self._readers[name] = JsonLinesReader(self._rows, is_document=True, member=member)
        self._readers[name].feed(b"\n".join((*lines, b"")))


def begins_document(start: bytes, selection: Selection) -> bool | None:
    """Return whether JSON begins as such a document; ``None`` if that shows later.

    Args:
        start: The first bytes.
        selection: What is to be read.
    """
    text = start.lstrip()
    if text.startswith(b"["):
        inner = text[1:].lstrip()
        return inner.startswith((b"[", b"{")) if inner else None
    parts = _parts_of(selection)
    splitter = DocumentSplitter(parts)
    is_damaged = False
    try:
        for _ in splitter.feed(text):
            pass
    except Problem:
        # The reader of what it is refuses it with its place.
        is_damaged = True
    if any(parts[name] == "inputs" for name in splitter.begun):
        return True
    return False if is_damaged or splitter.is_complete else None


def _parts_of(selection: Selection) -> dict[str, Part]:
    """Return which part the list of a member has."""
    inputs = _INPUTS if selection.column is None else (selection.column,)
    target = selection.target_column
    targets = NAMES["targets"] if target is None else (target,)
    named: dict[str, Part] = dict.fromkeys(targets, "targets")
    return {**named, **dict.fromkeys(inputs, "inputs")}
