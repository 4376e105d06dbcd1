"""Large arrays of numbers, cut out of JSON and parsed a piece at a time.

A parser keeps the interpreter's lock until it returns, so a large body would block the event loop
even if another thread parsed it.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np
import orjson
from numpy.typing import NDArray

from energy_flow.errors import Fault
from service.problems import Problem, invalid

PIECE_BYTES: Final = 32 * 1024
"""Bytes that are parsed at once; they take some 0.2 ms."""

MAX_ITEM_BYTES: Final = PIECE_BYTES
"""Longest number, with the white space beside it."""

# A search for a text keeps the lock as well.
_SEARCH_BYTES: Final = 2**20
_SPACE: Final = b" \t\r\n"
_NUMERIC: Final = b"0123456789+-.eE,[] \t\r\n"
_INTEGRAL: Final = b"0123456789-,[] \t\r\n"


@dataclass(frozen=True)
class LargeArray:
    """Where a body may hold one large array of numbers.

    Attributes:
        member: Name of the member that holds it.
        find_owners: Returns the values of a parsed document that may have that member.
        place: Place of the array in faults.
        has_rows: Whether a list of rows of numbers is allowed.
        may_be_flat: Whether a list of numbers is allowed.
        is_integral: Whether its numbers must be written as integers.
    """

    member: str
    find_owners: Callable[[Any], Iterable[Any]]
    place: tuple[str | int, ...]
    has_rows: bool = True
    may_be_flat: bool = False
    is_integral: bool = False

    @cached_property
    def quoted(self) -> bytes:
        """The member's name as JSON has it."""
        return b'"%b"' % self.member.encode()

    @cached_property
    def start(self) -> re.Pattern[bytes]:
        """Pattern that matches the member's name up to the ``[`` of its list."""
        return re.compile(rb"%b[ \t\r\n]{0,999}:[ \t\r\n]{0,999}\[" % re.escape(self.quoted))


class UnusualArrayError(Exception):
    """An array that is no list of numbers, or no rectangle, or no JSON.

    Attributes:
        array: Where it is.
        position: Offset in the body from which it is unusual.
        row: Index of the row at the position; ``None`` in a flat list.
        column: Index of the number at the position; ``None`` at the beginning of a row.
        width: Numbers of a row, if that is known.
    """

    def __init__(
        self,
        array: LargeArray,
        position: int,
        row: int | None,
        column: int | None,
        width: int | None = None,
    ) -> None:
        super().__init__(position)
        self.array = array
        self.position = position
        self.row = row
        self.column = column
        self.width = width


@dataclass(frozen=True, slots=True)
class CutBody:
    """A body without its large arrays.

    Attributes:
        parts: Parts of the JSON in which a string, a marker, is in the place of each array.
        arrays: What was cut out by marker: where such an array may be, and its numbers.
    """

    parts: list[memoryview]
    arrays: dict[str, tuple[LargeArray, NDArray[np.float64]]]

    @property
    def rest_bytes(self) -> int:
        """Bytes of the JSON."""
        return sum(len(part) for part in self.parts)

    def join_rest(self) -> bytes:
        """Return the JSON."""
        return b"".join(self.parts)

    def put_back(self, document: Any) -> bool:
        """Put the arrays into the parsed rest, and return whether all were where they may be.

        The marker of another one stays, because its text was part of a string, or belongs to no
        known member.

        Args:
            document: The parsed rest.
        """
        count = 0
        for array in {known.member: known for known, _ in self.arrays.values()}.values():
            for owner in array.find_owners(document):
                marker = owner.get(array.member) if isinstance(owner, dict) else None
                if isinstance(marker, str) and marker in self.arrays:
                    owner[array.member] = self.arrays[marker][1]
                    count += 1
        return count == len(self.arrays)


class _Numbers:
    """Room for all numbers of a body, which are parsed one piece after the other.

    Joining the pieces at the end would take the memory twice. Between two numbers of a body there
    is a comma, and memory that is not written takes none.
    """

    def __init__(self, body: bytes) -> None:
        self._room = np.empty(count_up_to(body, b",", len(body)) + 1)
        self._count = 0

    def start(self) -> int:
        """Return where the next numbers will be."""
        return self._count

    def add(self, piece: NDArray[np.float64]) -> None:
        """Add the numbers of a piece."""
        self._room[self._count : self._count + piece.size] = piece.reshape(-1)
        self._count += piece.size

    def since(self, start: int) -> NDArray[np.float64]:
        """Return the numbers since a call of :meth:`start`."""
        return self._room[start : self._count]


def cut_arrays(body: bytes, arrays: Sequence[LargeArray], piece_bytes: int) -> CutBody:
    """Cut large arrays of numbers out of a body.

    Args:
        body: JSON text.
        arrays: Where they may be.
        piece_bytes: Bytes that are parsed at once.

    Raises:
        UnusualArrayError: One of them is no array of numbers.
    """
    # Without copies: most of a body can be beside its arrays, and is refused then.
    text = memoryview(body)
    parts: list[memoryview] = []
    found: dict[str, tuple[LargeArray, NDArray[np.float64]]] = {}
    position = 0
    search = _Search(body, arrays)
    room = _Numbers(body)
    while (match := search.next_after(position)) is not None:
        array, start, first = match
        numbers, end = _read_array(body, first, array, piece_bytes, room)
        if end - start > piece_bytes:
            marker = f"{numbers.size} numbers {secrets.token_hex(16)}"
            parts += [text[position:start], memoryview(orjson.dumps(marker))]
            found[marker] = array, numbers
        else:
            parts.append(text[position:end])
        position = end
    parts.append(text[position:])
    return CutBody(parts, found)


class _Search:
    """A search for the arrays of a body, in order."""

    def __init__(self, body: bytes, arrays: Sequence[LargeArray]) -> None:
        self._body = body
        self._next = {array.member: (-2, array) for array in arrays}

    def next_after(self, position: int) -> tuple[LargeArray, int, int] | None:
        """Return an array, the offset of its ``[``, and that of what follows it."""
        while True:
            for member, (at, array) in self._next.items():
                if at != -1 and at < position:
                    self._next[member] = _find(self._body, array.quoted, position), array
            known = [(at, array) for at, array in self._next.values() if at >= 0]
            if not known:
                return None
            at, array = min(known, key=lambda one: one[0])
            match = array.start.match(self._body, at)
            first = match and skip_space(self._body, match.end())
            # An empty list is short.
            if match is not None and first and self._body[first : first + 1] != b"]":
                return array, match.end() - 1, first
            position = at + 1


def _find(body: bytes, text: bytes, start: int) -> int:
    while start < len(body):
        at = body.find(text, start, start + _SEARCH_BYTES + len(text))
        if at >= 0:
            return at
        start += _SEARCH_BYTES
    return -1


def _read_array(
    body: bytes, first: int, array: LargeArray, piece_bytes: int, room: _Numbers
) -> tuple[NDArray[np.float64], int]:
    """Return the numbers of a list that is not empty, and its end."""
    if body[first : first + 1] == b"[":
        if array.has_rows:
            return _read_rows(body, first, array, piece_bytes, room)
    elif array.may_be_flat:
        return _read_flat(body, first, array, piece_bytes, room)
    raise UnusualArrayError(array, first, 0 if array.has_rows else None, None)


def _read_rows(
    body: bytes, position: int, array: LargeArray, piece_bytes: int, room: _Numbers
) -> tuple[NDArray[np.float64], int]:
    """Return rows of equal length and the end of their list."""
    start = room.start()
    count = 0
    width: int | None = None
    while True:
        part: NDArray[np.float64] | None
        if body.find(b"]", position) - position > _most_bytes(piece_bytes):
            numbers, end = _read_flat(body, position + 1, array, piece_bytes, room, count)
            part = numbers[np.newaxis]
            is_added = True
        else:
            part, end = _parse_some_rows(body, position, array, piece_bytes)
            is_added = False
        # Rows without numbers are unusual, too.
        if part is None or part.shape[1] != (width or part.shape[1] or 1):
            raise UnusualArrayError(array, position, count, None, width)
        if not is_added:
            room.add(part)
        count += len(part)
        width = part.shape[1]
        end = skip_space(body, end)
        following = body[end : end + 1]
        if following == b"]":
            return room.since(start).reshape(count, width), end + 1
        if following != b",":
            raise malformed(f"unexpected character at byte {end:,}")
        position = skip_space(body, end + 1)


def _most_bytes(piece_bytes: int) -> int:
    """Return the most bytes that are parsed at once, of several rows or of a short one."""
    return 4 * piece_bytes


def _parse_some_rows(
    body: bytes, position: int, array: LargeArray, piece_bytes: int
) -> tuple[NDArray[np.float64] | None, int]:
    """Return at least one row and about a piece of rows, if they are sound, and their end."""
    first = body.find(b"]", position) + 1
    end = body.rfind(b"]", position, position + piece_bytes) + 1 or first
    part = _parse_piece(body[position:end], 2, array)
    if part is None:
        # The list ends in the piece.
        end = body.find(b"]]", position, end) + 1 or first
        part = _parse_piece(body[position:end], 2, array)
    if part is None and end != first:
        # White space hides the end.
        end = first
        part = _parse_piece(body[position:end], 2, array)
    return part, end


def _read_flat(
    body: bytes,
    position: int,
    array: LargeArray,
    piece_bytes: int,
    room: _Numbers,
    row: int | None = None,
) -> tuple[NDArray[np.float64], int]:
    """Return the numbers of a list without lists and its end."""
    end = body.find(b"]", position)
    start = room.start()
    count = 0
    most = _most_bytes(piece_bytes)
    while position < end:
        stop = end
        if end - position > most:
            stop = body.find(b",", position + piece_bytes, position + most)
        part = None if stop < 0 else _parse_piece(body[position:stop], 1, array)
        if part is None:
            raise UnusualArrayError(array, position, row, count)
        room.add(part)
        count += len(part)
        position = stop + 1
    # A list that ends with a comma stops one byte earlier.
    if not count or position != end + 1:
        raise UnusualArrayError(array, position, row, count)
    return room.since(start), end + 1


def _parse_piece(piece: bytes, dimensions: int, array: LargeArray) -> NDArray[np.float64] | None:
    if piece.translate(None, _INTEGRAL if array.is_integral else _NUMERIC):
        return None
    try:
        part = np.array(orjson.loads(b"[" + piece + b"]"), dtype=np.float64)
    except ValueError:  # Ragged or malformed.
        return None
    return part if part.ndim == dimensions and len(part) else None


def skip_space(body: bytes, position: int) -> int:
    """Return the offset of what follows some white space.

    Args:
        body: JSON text.
        position: Offset of the white space.

    Raises:
        Problem: 422, it is longer than :data:`MAX_ITEM_BYTES`.
    """
    last = position + MAX_ITEM_BYTES
    while body[position : position + 1] and body[position] in _SPACE:
        position += 1
        if position > last:
            message = f"has more than {MAX_ITEM_BYTES:,} bytes of white space in one place"
            raise invalid([Fault(("body",), message, None)])
    return position


def count_up_to(body: bytes, characters: bytes, limit: int) -> int:
    """Return how often single characters are in a body, or a number beyond the limit.

    Args:
        body: The body.
        characters: The characters.
        limit: A number that need not be exceeded.
    """
    count = 0
    for start in range(0, len(body), _SEARCH_BYTES):
        for character in characters:
            count += body.count(character, start, start + _SEARCH_BYTES)
        if count > limit:
            break
    return count


def malformed(reason: object) -> Problem:
    """Return 400 for a body that is not JSON.

    Args:
        reason: What is wrong with it.
    """
    return Problem(400, f"the body is not JSON: {reason}")
