"""JSON lines: an embedding a line, or an object with one and an optional target."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from energy_flow.errors import Fault
from service.datasets.formats.rows import Rows
from service.datasets.formats.text import TextStart
from service.problems import Problem
from service.requests.columns import NAMES, Column, Content, Part, choose_columns
from service.requests.json_body import MAX_WHOLE_BYTES, parse_in_pieces, parse_value
from service.requests.large_arrays import PIECE_BYTES, LargeArray, malformed
from service.requests.number_rows import describe_type
from service.requests.structure import find_repeated

MAX_LINE_BYTES: Final = 8 * 2**20
"""Longest line; memory has several copies of its numbers."""

_OF_A_LIST: Final = NAMES["inputs"][0]
"""Name of the inputs in a file whose lines are lists."""

_OTHER_FORMS: Final = (
    "a file has a row on each line, a list of rows [[...]] or of objects, or an object with "
    "embeddings [[...]]"
)
_AS_RECORDS: Final = "a list of objects, as pandas writes with orient='records', can be read"


@dataclass(frozen=True, slots=True)
class ListMember:
    """The member of a document whose list has a row on each line.

    Attributes:
        part: Which part of the dataset the rows belong to.
        name: Name of the member.
    """

    part: Part
    name: str


class JsonLinesReader:
    """A reader of ``.jsonl`` files, which skips empty lines.

    Args:
        rows: Receives the rows.
        is_document: Whether the lines are entries of a list, which faults count as rows.
        member: The member that has this list; ``None`` where a line has all members of its row.
    """

    def __init__(
        self, rows: Rows, *, is_document: bool = False, member: ListMember | None = None
    ) -> None:
        self._rows = rows
        self._is_document = is_document
        self._member = member
        self._rest = b""
        self._line = 0
        self._names: dict[Part, str] | None = None
        self._text = TextStart()
        column = rows.selection.column
        named = NAMES["inputs"] if column is None else (column,)
        self._arrays = tuple(_large_array(name) for name in (*named, *NAMES["targets"]))

    @property
    def pending_bytes(self) -> int:
        """Bytes of the line that is not complete."""
        return len(self._rest)

    def feed(self, piece: bytes) -> None:
        """Read the next bytes, as :meth:`DatasetReader.feed`."""
        *lines, self._rest = (self._rest + self._text.strip(piece)).split(b"\n")
        if len(self._rest) > MAX_LINE_BYTES:
            self._line += len(lines) + 1
            raise self._malformed(f"is longer than the limit of {MAX_LINE_BYTES:,} bytes")
        self._read(lines)
        self._rows.raise_faults()

    def finish(self) -> None:
        """Check the end of the file, as :meth:`DatasetReader.finish`."""
        self._read([self._rest + self._text.finish()])
        self._rows.raise_faults()

    def _read(self, lines: list[bytes]) -> None:
        """Read lines, some at a time, up to the first part with a fault."""
        held: dict[Part, list[Any]] = {"inputs": [], "targets": []}
        numbers: list[int] = []
        size = 0
        for line in lines:
            self._line += 1
            if line.strip():
                if self._rows.is_complete:
                    return
                self._parse(line, held)
                numbers.append(self._line)
                size += len(line)
            if size > PIECE_BYTES:
                self._add(held, numbers)
                held, numbers, size = {"inputs": [], "targets": []}, [], 0
        self._add(held, numbers)

    def _parse(self, line: bytes, held: dict[Part, list[Any]]) -> None:
        try:
            document = self._parse_line(line)
        except Problem as problem:
            if problem.status == 422:
                self._refuse(problem.faults)
            raise self._malformed(problem.detail.removeprefix("the body ")) from None
        if self._member is not None:
            members: dict[Part, Any] = {self._member.part: document}
            names: dict[Part, str] = {self._member.part: self._member.name}
        elif isinstance(document, list | np.ndarray):
            column = self._rows.selection.column
            if column is not None:
                message = "is no member of a line, which is a list; leave column out"
                self._refuse([Fault((column,), message, column)])
            members = {"inputs": document}
            names = {"inputs": _OF_A_LIST}
        elif isinstance(document, dict):
            if document and all(isinstance(value, dict) for value in document.values()):
                raise self._malformed(f"has a column in each member; {_AS_RECORDS}")
            columns = [_describe_member(name, value) for name, value in document.items()]
            chosen = choose_columns(columns, self._rows.selection, "a list of numbers")
            faults = [
                *chosen.faults,
                *(
                    Fault((array.member,), "is given twice", None)
                    for array in self._arrays
                    if line.count(array.quoted) > 1 and _is_repeated(line, array.member)
                ),
            ]
            if faults:
                self._refuse(faults)
            if self._names is None:
                self._rows.source = chosen.describe("member")
            names = {part: found[0] for part, found in chosen.parts.items()}
            members = {part: document[name] for part, name in names.items()}
            if "targets" in members and isinstance(members["targets"], int | float):
                members["targets"] = [members["targets"]]
        else:
            raise self._malformed("must be an object or a list of numbers")
        if self._names is None:
            self._names = names
        elif names.keys() != self._names.keys():
            message = "has a target, although the rows before have none"
            if "targets" in self._names:
                message = "has no target, although the rows before have some"
            self._rows.refuse(Fault((self._where(),), message, sorted(names.values())))
            self._rows.raise_faults()
        for part, value in members.items():
            held[part].append(value)

    def _add(self, held: dict[Part, list[Any]], lines: list[int]) -> None:
        for part, values in held.items():
            if not values:
                continue
            assert self._names is not None
            self._rows.add_lists(
                part, self._names[part], values, () if self._is_document else lines
            )

    def _parse_line(self, line: bytes) -> Any:
        """Return the document of a line; numbers of a long one are arrays."""
        if len(line) <= PIECE_BYTES or not line.lstrip().startswith(b"["):
            return parse_in_pieces(line, self._arrays, parse_value)
        if b'"' in line:
            # No list of numbers, and perhaps members behind it.
            if len(line) > MAX_WHOLE_BYTES:
                raise malformed("a list of numbers has strings")
            return parse_value(line)
        # A list is read as the only member of an object.
        text = b'{"%b":%b}' % (_OF_A_LIST.encode(), line)
        return parse_in_pieces(text, (_large_array(_OF_A_LIST),), parse_value)[_OF_A_LIST]

    def _refuse(self, faults: Iterable[Fault]) -> None:
        """Raise the faults of the present line."""
        self._rows.refuse(*(Fault((self._where(), *f.loc), f.msg, f.got) for f in faults))
        self._rows.raise_faults()

    def _malformed(self, why: str) -> Problem:
        if self._line == 1 and not self._is_document and why.startswith("is not JSON"):
            why = f"{why}; {_OTHER_FORMS}"
        return Problem(400, f"{self._where()} {why}", faults=[Fault((self._where(),), why, None)])

    def _where(self) -> str:
        return f"row {self._line - 1}" if self._is_document else f"line {self._line}"


def _large_array(name: str) -> LargeArray:
    return LargeArray(name, lambda document: [document], (name,), has_rows=False, may_be_flat=True)


def _describe_member(name: str, value: Any) -> Column:
    if isinstance(value, list | np.ndarray):
        # Single values that are no numbers are refused with their places.
        first = value[0] if len(value) else None
        is_row = not isinstance(first, str | list | dict)
        content = Content.ROWS if is_row else Content.OTHER
        return Column(name, content, f"a list that begins with {describe_type(first)}")
    if isinstance(value, dict):
        # As pandas writes a frame, unless it is told otherwise.
        return Column(name, Content.OTHER, f"{describe_type(value)}; {_AS_RECORDS}")
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    other = Content.TEXT if isinstance(value, str) else Content.OTHER
    return Column(name, Content.NUMBER if is_number else other, describe_type(value))


def _is_repeated(line: bytes, name: str) -> bool:
    """Return whether an object has a member twice."""
    return (name,) in find_repeated(line)
