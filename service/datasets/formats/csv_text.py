"""CSV files: a number a column, or a column of lists, and an optional column of targets."""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, NoReturn

import orjson

from energy_flow.errors import Fault
from service.datasets.formats.rows import MAX_COLUMNS, Rows
from service.datasets.formats.text import TextStart
from service.problems import Problem
from service.requests.columns import Column, Content, Part, choose_columns
from service.requests.large_arrays import PIECE_BYTES

MAX_FIELDS: Final = MAX_COLUMNS + 1024
"""Most fields of a line: the numbers of a row, and what stands beside them."""
MAX_ROW_BYTES: Final = 8 * 2**20
"""Longest row, with all lines that it has in quotes."""

_DELIMITERS: Final = re.compile(rb"[\t;,]")
_QUOTED: Final = re.compile(rb'"[^"]*"')
_NUMBER: Final = re.compile(rb"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_DECIMAL_COMMA: Final = re.compile(rb"[+-]?[0-9]+,[0-9]+(?:[eE][+-]?[0-9]+)?")
_WITH_POINTS: Final = "must have a decimal point, not a comma; write all numbers with points"
_NOT_FINITE: Final = re.compile(rb"[+-]?(?:nan|inf|infinity)", re.IGNORECASE)
_MISSING: Final = frozenset((b"", b"na", b"n/a", b"null", b"none", b"<na>"))

_FIELDS_AT_ONCE: Final = 2048
"""Fields that are parsed at once, while nothing else in the process runs Python."""


class CsvReader:
    """A reader of ``.csv`` files, which skips empty lines.

    Args:
        rows: Receives the rows.
    """

    def __init__(self, rows: Rows) -> None:
        self._rows = rows
        self._text = TextStart()
        self._rest = b""
        self._row: list[bytes] = []
        self._row_bytes = 0
        self._is_quoted = False
        self._line = 0
        self._delimiter = b","
        self._names: list[str] | None = None
        self._layout: dict[Part, _Layout] = {}
        # The library's own limit, for all of the process, is shorter than a long list.
        csv.field_size_limit(MAX_ROW_BYTES)

    @property
    def pending_bytes(self) -> int:
        """Bytes of the row that is not complete."""
        return len(self._rest) + self._row_bytes

    def feed(self, piece: bytes) -> None:
        """Read the next bytes, as :meth:`DatasetReader.feed`."""
        *lines, self._rest = (self._rest + self._text.strip(piece)).split(b"\n")
        self._read(lines)
        if len(self._rest) + self._row_bytes > MAX_ROW_BYTES:
            self._refuse_line(f"is longer than the limit of {MAX_ROW_BYTES:,} bytes")
        self._rows.raise_faults()

    def finish(self) -> None:
        """Check the end of the file, as :meth:`DatasetReader.finish`."""
        self._read([self._rest + self._text.finish()])
        if self._row:
            self._refuse_line("ends within quotes")
        self._rows.raise_faults()

    def _read(self, lines: list[bytes]) -> None:
        """Read lines, some at a time, up to the first part with a fault."""
        held: dict[Part, list[list[Any]]] = {"inputs": [], "targets": []}
        numbers: list[int] = []
        size = 0
        for line in lines:
            self._line += 1
            self._row.append(line)
            if b'"' in line and line.count(b'"') % 2:
                self._is_quoted = not self._is_quoted
            if self._is_quoted:
                # The line breaks of a field in quotes belong to it.
                self._row_bytes += len(line) + 1
                continue
            row = line if len(self._row) == 1 else b"\n".join(self._row)
            self._row, self._row_bytes = [], 0
            row = row.removesuffix(b"\r")
            if not row.strip():
                continue
            if self._rows.is_complete:
                return
            if self._parse(row, held):
                numbers.append(self._line)
            size += len(row)
            if size > PIECE_BYTES:
                self._add(held, numbers)
                held, numbers, size = {"inputs": [], "targets": []}, [], 0
        self._add(held, numbers)

    def _parse(self, row: bytes, held: dict[Part, list[list[Any]]]) -> bool:
        """Read a line, and return whether it holds a row; else, it holds the names."""
        if self._names is None:
            self._delimiter = find_delimiter(row)
            if _has_spaces_between_numbers(row):
                self._refuse_line(
                    "has numbers between spaces; write commas between them, as numpy.savetxt does "
                    "with delimiter=',', or save the array with numpy.save"
                )
            if _has_decimal_commas(row):
                self._refuse_line(
                    "has numbers with decimal commas between semicolons; write them with points"
                )
            fields = self._split(row)
            self._names = self._find_names(fields)
            if self._names is not None:
                return False
            self._names = [str(number) for number in range(len(fields))]
        else:
            fields = self._split(row)
        if len(fields) != len(self._names):
            self._refuse_line(
                f"has {len(fields):,} fields, and the first line has {len(self._names):,}"
            )
        if not self._layout:
            self._choose(fields)
        for part, layout in self._layout.items():
            first = self._rows.count(part) + len(held[part])
            try:
                held[part].append(layout.read(fields))
            except _FieldError as wrong:
                names = [self._names[index] for index in layout.columns]
                place = (
                    (names[wrong.column], first)
                    if layout.is_spread
                    else (names[0], first, wrong.column)
                )
                message = f"{wrong.message} (line {self._line:,})"
                self._rows.refuse(Fault(place, message, wrong.got))
                self._rows.raise_faults()
        return True

    def _choose(self, fields: Sequence[bytes]) -> None:
        """Choose the columns by the fields of the first row."""
        assert self._names is not None
        columns = [
            _describe_field(name, field) for name, field in zip(self._names, fields, strict=True)
        ]
        chosen = choose_columns(
            columns,
            self._rows.selection,
            "a column of lists, such as [0.1, 0.2]",
            may_be_spread=True,
        )
        self._rows.refuse(*chosen.faults)
        self._rows.raise_faults()
        self._rows.source = chosen.describe("column")
        known = {name: index for index, name in enumerate(self._names)}
        for part, names in chosen.parts.items():
            indexes = [known[name] for name in names]
            is_spread = columns[indexes[0]].content is Content.NUMBER
            self._layout[part] = _Layout(indexes, is_spread)

    def _add(self, held: dict[Part, list[list[Any]]], lines: list[int]) -> None:
        for part, values in held.items():
            if not values:
                continue
            assert self._names is not None
            layout = self._layout[part]
            names = [self._names[index] for index in layout.columns]
            columns = names if layout.is_spread else ()
            self._rows.add_lists(part, names[0], values, lines, columns)

    def _split(self, row: bytes) -> list[bytes]:
        if b'"' not in row:
            count = row.count(self._delimiter) + 1
            if count > MAX_FIELDS:
                message = f"has {count:,} fields; a line may have {MAX_FIELDS:,}"
                self._rows.refuse(Fault((f"line {self._line}",), message, None))
                self._rows.raise_faults()
            return row.split(self._delimiter)
        try:
            rows = csv.reader([row.decode()], delimiter=self._delimiter.decode(), strict=True)
            (fields,) = rows
        except UnicodeDecodeError as error:
            self._refuse_line(f"is not UTF-8: {error}")
        except (csv.Error, ValueError) as error:
            self._refuse_line(f"is no row of a .csv file: {error}")
        return [field.encode() for field in fields]

    def _find_names(self, fields: Sequence[bytes]) -> list[str] | None:
        """Return the names in the first line; ``None`` if it has numbers.

        Raises:
            Problem: 400, it may be either.
        """
        stripped = [field.strip() for field in fields]
        if any(field.startswith(b"[") for field in stripped):
            return None
        are_numbers = [_NUMBER.fullmatch(field) is not None for field in stripped]
        counted = [b"%d" % number for number in range(len(stripped))]
        if all(are_numbers) and (stripped != counted or len(stripped) == 1):
            return None
        if any(
            is_number and not field.isdigit()
            for field, is_number in zip(stripped, are_numbers, strict=True)
        ):
            self._refuse_line(
                "has names and fractions; write the names of all columns in the first line"
            )
        try:
            return [field.decode() for field in stripped]
        except UnicodeDecodeError as error:
            self._refuse_line(f"is not UTF-8: {error}")

    def _refuse_line(self, why: str) -> NoReturn:
        where = f"line {self._line}"
        raise Problem(400, f"{where} {why}", faults=[Fault((where,), why, None)])


@dataclass(frozen=True, slots=True)
class _Layout:
    """Where the numbers of a part are.

    Attributes:
        columns: Indexes of its columns.
        is_spread: Whether each has one number of a row, not a list.
    """

    columns: list[int]
    is_spread: bool

    def read(self, fields: Sequence[bytes]) -> list[Any]:
        """Return the numbers of a row.

        Raises:
            _FieldError: One of the fields is no number, or no list of numbers.
        """
        if self.is_spread:
            return _parse_numbers([fields[index] for index in self.columns])
        text = fields[self.columns[0]].strip()
        if not (text.startswith(b"[") and text.endswith(b"]")):
            problem = "missing" if text.lower() in _MISSING else "something else"
            if text.startswith(b"["):
                problem = "a part of one; put it in quotes"
            raise _FieldError(0, f"must be a list such as [0.1, 0.2], not {problem}", text)
        inner = text[1:-1].strip()
        if b"..." in inner:
            raise _FieldError(
                0, "was shortened with ... when it was written; write all of its numbers", text
            )
        if not inner:
            return []
        return _parse_numbers(inner.split(b",") if b"," in inner else inner.split())


class _FieldError(Exception):
    """A field is no number.

    Attributes:
        column: Its place in the row.
        message: What is wrong with it.
        got: The field.
    """

    def __init__(self, column: int, message: str, got: bytes) -> None:
        self.column = column
        self.message = message
        self.got = got.decode(errors="replace")
        super().__init__(message)


def _parse_numbers(fields: Sequence[bytes]) -> list[Any]:
    numbers: list[Any] = []
    for start in range(0, len(fields), _FIELDS_AT_ONCE):
        part = fields[start : start + _FIELDS_AT_ONCE]
        try:
            parsed = orjson.loads(b"[%b]" % b",".join(part))
        except orjson.JSONDecodeError:
            parsed = []
        # A field with a decimal comma would be two numbers; JSON knows more than numbers.
        if len(parsed) != len(part) or not {type(number) for number in parsed} <= {int, float}:
            parsed = [_parse_number(field, start + place) for place, field in enumerate(part)]
        numbers += parsed
    return numbers


def _parse_number(field: bytes, column: int) -> float:
    text = field.strip()
    if _NUMBER.fullmatch(text) or _NOT_FINITE.fullmatch(text):
        return float(text)
    if text.lower() in _MISSING:
        raise _FieldError(column, "must be a number, not missing", text)
    if _DECIMAL_COMMA.fullmatch(text):
        raise _FieldError(column, _WITH_POINTS, text)
    raise _FieldError(column, "must be a number", text)


def _describe_field(name: str, field: bytes) -> Column:
    text = field.strip()
    if text.startswith(b"["):
        return Column(name, Content.ROWS, "a list")
    patterns = (_NUMBER, _NOT_FINITE, _DECIMAL_COMMA)
    if text.lower() in _MISSING or any(pattern.fullmatch(text) for pattern in patterns):
        # One with a decimal comma is refused where it is read, with its line.
        return Column(name, Content.NUMBER, "one number")
    return Column(name, Content.TEXT, "text")


def _has_decimal_commas(row: bytes) -> bool:
    """Return whether a line has numbers between semicolons, and commas in some of them."""
    if b";" not in row or b"," not in row:
        return False
    fields = [field.strip() for field in row.split(b";")]
    are_decimal = [_DECIMAL_COMMA.fullmatch(field) is not None for field in fields]
    return any(are_decimal) and all(
        is_decimal or _NUMBER.fullmatch(field)
        for field, is_decimal in zip(fields, are_decimal, strict=True)
    )


def _has_spaces_between_numbers(row: bytes) -> bool:
    """Return whether a line has several numbers with nothing but spaces between them."""
    fields = row.split()
    return (
        len(fields) > 1 and all(_NUMBER.fullmatch(field) for field in fields) and b"\t" not in row
    )


def find_delimiter(row: bytes) -> bytes:
    """Return the delimiter that comes first in the first line; the comma if none does."""
    found = _DELIMITERS.search(_QUOTED.sub(b"", row))
    return b"," if found is None else found[0]
