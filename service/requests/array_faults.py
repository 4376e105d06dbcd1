"""The first fault of a large array of numbers, found without parsing what follows it."""

from __future__ import annotations

import math
import re
from typing import Any, Final

import orjson

from energy_flow.array_likes import one_row_is
from energy_flow.errors import Fault
from service.problems import MAX_CHARACTERS, Problem, invalid
from service.requests.large_arrays import (
    MAX_ITEM_BYTES,
    LargeArray,
    UnusualArrayError,
    malformed,
    skip_space,
)
from service.requests.non_finite import WORDS, refuse_non_finite
from service.requests.number_rows import describe_other_length, describe_type

_NUMBER: Final = re.compile(rb"-?(?:0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?")
_STRING: Final = re.compile(rb'"(?:[^"\\\x00-\x1f]|\\.)*"')
_WORDS: Final = {b"true": True, b"false": False, b"null": None}

# Digits that every double can have before its point.
_MAX_DIGITS: Final = 300


def find_array_fault(body: bytes, unusual: UnusualArrayError) -> Problem:
    """Return the refusal for an array that is no rectangle of numbers.

    Args:
        body: JSON text.
        unusual: Where it is.

    Returns:
        422, with the first fault; 400 where the text is not JSON.
    """
    try:
        return invalid([_Reader(body, unusual).find_fault()])
    except Problem as problem:
        return problem


class _Reader:
    """A reader of the tokens of an array, from the piece that has the fault on."""

    def __init__(self, body: bytes, unusual: UnusualArrayError) -> None:
        self._body = body
        self._array: LargeArray = unusual.array
        self._position = unusual.position
        self._row = unusual.row
        self._column = unusual.column
        self._width = unusual.width

    def find_fault(self) -> Fault:
        is_in_row = self._row is None or self._column is not None
        if self._row is None and self._column is None:
            self._column = 0
        while True:
            if is_in_row:
                fault = self._read_numbers()
                if fault is not None:
                    return fault
                if self._row is None:
                    return self._fault("are no numbers that can be read", None)
                if self._width is None:
                    self._width = self._column
                elif self._column != self._width:
                    message = describe_other_length(self._column or 0, self._width)
                    length, self._column = self._column, None
                    return self._fault(message, length)
                self._row, self._column = self._row + 1, None
                if self._read(b",]") == b"]":
                    return self._fault("are no numbers that can be read", None)
            if self._next() != b"[":
                value = self._read_value()
                is_number = isinstance(value, int | float) and not isinstance(value, bool)
                advice = f"; {one_row_is()}" if is_number and not self._row else ""
                return self._fault(f"must be a list of numbers{advice}", value)
            self._position += 1
            self._column = 0
            is_in_row = True

    def _read_numbers(self) -> Fault | None:
        """Read numbers up to the end of their list; return a fault of one of them."""
        assert self._column is not None
        if self._column == 0 and self._next() == b"]":
            self._position += 1
            if self._width:
                return None
            self._column = None
            return self._fault("must have at least one number", [])
        while True:
            start = self._next() and self._position
            value = self._read_value()
            if isinstance(value, bool) or not isinstance(value, int | float):
                return self._fault(f"must be a number, not {describe_type(value)}", value)
            if self._array.is_integral and not isinstance(value, int):
                return self._fault("must be an integer", value)
            if self._position - int(start) > MAX_ITEM_BYTES:
                return self._fault(f"has more than {MAX_ITEM_BYTES:,} characters", None)
            if math.isinf(value):
                return self._fault("must be a finite number", value)
            self._column += 1
            if self._read(b",]") == b"]":
                return None

    def _read(self, allowed: bytes) -> bytes:
        """Read one of several characters."""
        character = self._next()
        if character not in [bytes([one]) for one in allowed]:
            raise self._unexpected()
        self._position += 1
        return character

    def _next(self) -> bytes:
        """Return the next character that is no white space."""
        self._position = skip_space(self._body, self._position)
        return self._body[self._position : self._position + 1]

    def _read_value(self) -> Any:
        """Return a number and move behind it; or another value, of which little is read."""
        first = self._next()
        text = self._body[self._position : self._position + MAX_ITEM_BYTES + 1]
        match = _NUMBER.match(text)
        if match is not None:
            self._position += match.end()
            return _parse_number(match)
        if first in (b"[", b"{"):
            return [] if first == b"[" else {}
        if first == b'"':
            string = _STRING.match(text)
            if string is None and len(text) <= MAX_ITEM_BYTES:
                raise self._unexpected()
            try:
                return orjson.loads(text if string is None else string[0])
            except orjson.JSONDecodeError:
                return text[1 : MAX_CHARACTERS + 1].decode("utf-8", "replace")
        for word, value in _WORDS.items():
            if text.startswith(word):
                return value
        constant = WORDS.match(text)
        if constant is not None:
            raise refuse_non_finite(self._place(), constant[0].decode())
        raise self._unexpected()

    def _unexpected(self) -> Problem:
        if self._position >= len(self._body):
            return malformed("it ends within a list")
        return malformed(f"unexpected character at byte {self._position:,}")

    def _fault(self, message: str, got: Any) -> Fault:
        return Fault(self._place(), message, got)

    def _place(self) -> tuple[str | int, ...]:
        inner = [index for index in (self._row, self._column) if index is not None]
        return (*self._array.place, *inner)


def _parse_number(match: re.Match[bytes]) -> int | float:
    text = match[0]
    if match[1] is not None or match[2] is not None:
        return float(text)
    return int(text) if len(text) <= _MAX_DIGITS else math.copysign(math.inf, -(text[:1] == b"-"))
