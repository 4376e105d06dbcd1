"""Datasets as JSON lines: an embedding a line, or an object with one and an optional target."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import numpy as np

from energy_flow.errors import Fault
from service.datasets.formats.names import NAMES, Part, choose_names
from service.datasets.formats.rows import MAX_COLUMNS, Rows
from service.problems import Problem
from service.requests.json_body import MAX_WHOLE_BYTES, parse_in_pieces, parse_value
from service.requests.large_arrays import PIECE_BYTES, LargeArray, malformed
from service.requests.number_rows import find_row_faults
from service.requests.structure import find_repeated

MAX_LINE_BYTES: Final = 8 * 2**20
"""Longest line; memory has several copies of its numbers."""

_ARRAYS: Final = tuple(
    LargeArray(name, lambda document: [document], (name,), has_rows=False, may_be_flat=True)
    for names in NAMES.values()
    for name in names
)
_OF_A_LIST: Final = NAMES["inputs"][0]
"""Name of the inputs in a file whose lines are lists."""


class JsonLinesReader:
    """A reader of ``.jsonl`` files, which skips empty lines.

    Args:
        rows: Receives the rows.
    """

    def __init__(self, rows: Rows) -> None:
        self._rows = rows
        self._rest = b""
        self._line = 0
        self._names: dict[Part, str] | None = None

    @property
    def pending_bytes(self) -> int:
        """Bytes of the line that is not complete."""
        return len(self._rest)

    def feed(self, piece: bytes) -> None:
        """Read the next bytes, as :meth:`DatasetReader.feed`."""
        *lines, self._rest = (self._rest + piece).split(b"\n")
        if len(self._rest) > MAX_LINE_BYTES:
            self._line += len(lines) + 1
            raise self._malformed(f"is longer than the limit of {MAX_LINE_BYTES:,} bytes")
        self._read(lines)
        self._rows.raise_faults()

    def finish(self) -> None:
        """Check the end of the file, as :meth:`DatasetReader.finish`."""
        self._read([self._rest])
        self._rows.raise_faults()

    def _read(self, lines: list[bytes]) -> None:
        """Read lines, some at a time, up to the first part with a fault."""
        held: dict[Part, list[Any]] = {"inputs": [], "targets": []}
        size = 0
        for line in lines:
            self._line += 1
            if line.strip():
                self._parse(line, held)
                size += len(line)
            if size > PIECE_BYTES:
                self._add(held)
                held, size = {"inputs": [], "targets": []}, 0
        self._add(held)

    def _parse(self, line: bytes, held: dict[Part, list[Any]]) -> None:
        try:
            document = _parse_line(line)
        except Problem as problem:
            if problem.status == 422:
                self._refuse(problem.faults)
            raise self._malformed(problem.detail.removeprefix("the body ")) from None
        if isinstance(document, list | np.ndarray):
            members: dict[Part, Any] = {"inputs": document}
            names: dict[Part, str] = {"inputs": _OF_A_LIST}
        elif isinstance(document, dict):
            names, faults = choose_names(document)
            faults += [
                Fault((array.member,), "is given twice", None)
                for array in _ARRAYS
                if line.count(array.quoted) > 1 and _is_repeated(line, array.member)
            ]
            if faults:
                self._refuse(faults)
            members = {part: document[name] for part, name in names.items()}
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

    def _add(self, held: dict[Part, list[Any]]) -> None:
        for part, values in held.items():
            if not values:
                continue
            assert self._names is not None
            name = self._names[part]
            width = self._rows.width(part)
            faults = find_row_faults(values, name, self._rows.count(part), width)
            if not faults and not 1 <= len(values[0]) <= MAX_COLUMNS:
                message = f"must have 1 to {MAX_COLUMNS:,} numbers"
                faults = [Fault((name, 0), message, len(values[0]))]
            if faults:
                self._rows.refuse(*faults)
            else:
                self._rows.add(part, name, np.array(values, dtype=np.float64))

    def _refuse(self, faults: Iterable[Fault]) -> None:
        """Raise the faults of the present line."""
        self._rows.refuse(*(Fault((self._where(), *f.loc), f.msg, f.got) for f in faults))
        self._rows.raise_faults()

    def _malformed(self, why: str) -> Problem:
        return Problem(400, f"{self._where()} {why}", faults=[Fault((self._where(),), why, None)])

    def _where(self) -> str:
        return f"line {self._line}"


def _parse_line(line: bytes) -> Any:
    """Return the document of a line; numbers of a long one are arrays."""
    if len(line) <= PIECE_BYTES or not line.lstrip().startswith(b"["):
        return parse_in_pieces(line, _ARRAYS, parse_value)
    if b'"' in line:
        # No list of numbers, and perhaps members behind it.
        if len(line) > MAX_WHOLE_BYTES:
            raise malformed("a list of numbers has strings")
        return parse_value(line)
    # A list is read as the only member of an object.
    document = parse_in_pieces(b'{"%b":%b}' % (_OF_A_LIST.encode(), line), _ARRAYS, parse_value)
    return document[_OF_A_LIST]


def _is_repeated(line: bytes, name: str) -> bool:
    """Return whether an object has a member twice."""
    return (name,) in find_repeated(line)
