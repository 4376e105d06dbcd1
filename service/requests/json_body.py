"""JSON bodies, parsed without blocking the event loop.

A parser keeps the interpreter's lock until it returns, so a large body would block the event loop
even if another thread parsed it. The one large array of numbers of a body is therefore cut out and
parsed a piece at a time into numpy; the rest of the body is small.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, NoReturn

import numpy as np
import orjson
from numpy.typing import NDArray

from service.problems import Problem
from service.threads import Threads, in_thread

PIECE_BYTES: Final = 32 * 1024
"""Bytes that are parsed at once; they take some 0.2 ms."""

MAX_CONTAINERS: Final = 1_000_000
"""Most lists and objects of a document. A parser needs seconds and gigabytes for many more."""

MAX_MEMBERS: Final = 1000
"""Most members of all objects of a body. Each that is wrong has a fault of its own."""

_SPACE = b" \t\r\n"
_NUMERIC = b"0123456789+-.eE,[] \t\r\n"


@dataclass(frozen=True)
class LargeArray:
    """Where a body may hold one large array of numbers.

    Attributes:
        member: Name of the member that holds it.
        find_owners: Returns the values of a parsed document that may have that member.
        may_be_flat: Whether a list of numbers is allowed, besides a list of rows of numbers.
    """

    member: str
    find_owners: Callable[[dict[str, Any]], Iterable[Any]]
    may_be_flat: bool = False

    @cached_property
    def start(self) -> re.Pattern[bytes]:
        """Pattern that matches the member's name up to the ``[`` of its list."""
        return re.compile(rb'"%b"[ \t\r\n]*:[ \t\r\n]*\[' % re.escape(self.member.encode()))


def parse_json(body: bytes) -> Any:
    """Return the document.

    Args:
        body: JSON text.

    Raises:
        Problem: 400, the body is not JSON. ``NaN`` and ``Infinity`` are not JSON; 413, it has more
            than :data:`MAX_CONTAINERS` lists and objects.
    """
    # None is shorter than two bytes.
    if len(body) > 2 * MAX_CONTAINERS:
        _check_count(body.count(b"[") + body.count(b"{"), MAX_CONTAINERS, "lists and objects")
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        if "infinity" not in str(error):
            raise _malformed(error) from None
    # A number such as 1e999 is JSON, but no double. The slower parser reads it as infinity, so that
    # a later check can name its place.
    try:
        return json.loads(body, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise _malformed(error) from None


async def parse_object(body: bytes) -> dict[str, Any]:
    """Return the members of a JSON object; a large body is parsed in a thread.

    Args:
        body: JSON text.

    Raises:
        Problem: 400, the body is not JSON, or not an object; 413, it has too many values.
    """
    _check_members(body)
    if len(body) <= PIECE_BYTES:
        return _require_object(parse_json(body))
    return _require_object(await in_thread(Threads.BODIES, parse_json, body))


def parse_object_with_array(
    body: bytes, array: LargeArray, piece_bytes: int = PIECE_BYTES
) -> dict[str, Any]:
    """Return the members of a JSON object that may hold a large array of numbers.

    Args:
        body: JSON text.
        array: Where the array may be.
        piece_bytes: Bytes that are parsed at once. A smaller body is parsed as a whole.

    Returns:
        The members. The array is float64 [rows, columns] or [numbers]. It is a list, as the parser
        returns it, if the body is small or if anything about it is unusual.

    Raises:
        Problem: 400, the body is not JSON, or not an object; 413, it has too many values.
    """
    _check_members(body)
    if len(body) > piece_bytes:
        document = _parse_in_pieces(body, array, piece_bytes)
        if document is not None:
            return document
    return _require_object(parse_json(body))


def describe_type(value: Any) -> str:
    """Return what JSON calls a value, with its article."""
    match value:
        case None:
            return "null"
        case bool():
            return "a boolean"
        case int() | float():
            return "a number"
        case str():
            return "a string"
        case list():
            return "a list"
        case _:
            return "an object"


def _parse_in_pieces(body: bytes, array: LargeArray, piece_bytes: int) -> dict[str, Any] | None:
    """Return what :func:`parse_object_with_array` does, or ``None`` where anything is unusual."""
    match = array.start.search(body)
    if match is None:
        return None
    first = _skip_space(body, match.end())
    if body[first : first + 1] == b"[":
        found = _parse_rows(body, first, piece_bytes)
    else:
        found = _parse_flat(body, first, piece_bytes) if array.may_be_flat else None
    if found is None:
        return None
    numbers, end = found
    # The parser must find what replaces the array where the array is expected. Otherwise the match
    # was part of a string, or the member is there twice.
    marker = secrets.token_hex(16)
    try:
        rest = b"%b%b%b" % (body[: match.end() - 1], orjson.dumps(marker), body[end:])
        document = orjson.loads(rest)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(document, dict):
        return None
    owners = [
        owner
        for owner in array.find_owners(document)
        if isinstance(owner, dict) and owner.get(array.member) == marker
    ]
    if len(owners) != 1:
        return None
    owners[0][array.member] = numbers
    return document


def _parse_rows(
    body: bytes, position: int, piece_bytes: int
) -> tuple[NDArray[np.float64], int] | None:
    """Return rows of equal length and the end of their list."""
    parts: list[NDArray[np.float64]] = []
    while True:
        end, is_last = _find_end_of_rows(body, position, piece_bytes)
        part = None if end < 0 else _parse_piece(body[position:end], 2)
        if part is None or (parts and part.shape[1] != parts[0].shape[1]):
            return None
        parts.append(part)
        position = _skip_space(body, end) + 1
        if is_last:
            return np.concatenate(parts), position
        position = _skip_space(body, position)


def _find_end_of_rows(body: bytes, position: int, piece_bytes: int) -> tuple[int, bool]:
    """Return the end of at least one row and about a piece of rows, and whether it is the last.

    Returns:
        (-1, True) where something else than rows follows.
    """
    end = position
    while True:
        end = body.find(b"]", end) + 1
        if end == 0:
            return -1, True
        after = _skip_space(body, end)
        if body[after : after + 1] == b"]":
            return end, True
        if body[after : after + 1] != b",":
            return -1, True
        if end - position >= piece_bytes:
            return end, False
        end = after


def _parse_flat(
    body: bytes, position: int, piece_bytes: int
) -> tuple[NDArray[np.float64], int] | None:
    """Return numbers and the end of their list."""
    end = body.find(b"]", position)
    parts: list[NDArray[np.float64]] = []
    while position < end:
        stop = body.find(b",", position + piece_bytes, end)
        stop = end if stop < 0 else stop
        part = _parse_piece(body[position:stop], 1)
        if part is None:
            return None
        parts.append(part)
        position = stop + 1
    # A list that ends with a comma stops one byte earlier.
    is_complete = bool(parts) and position == end + 1
    return (np.concatenate(parts), end + 1) if is_complete else None


def _parse_piece(piece: bytes, dimensions: int) -> NDArray[np.float64] | None:
    if piece.translate(None, _NUMERIC):
        return None
    try:
        part = np.array(orjson.loads(b"[" + piece + b"]"), dtype=np.float64)
    except ValueError:  # Ragged or malformed.
        return None
    return part if part.ndim == dimensions and len(part) else None


def _skip_space(body: bytes, position: int) -> int:
    while body[position : position + 1] and body[position] in _SPACE:
        position += 1
    return position


def _check_members(body: bytes) -> None:
    """Refuse a body with too many members. A colon in a string counts as one."""
    _check_count(body.count(b":"), MAX_MEMBERS, "members")


def _check_count(count: int, limit: int, what: str) -> None:
    if count > limit:
        raise Problem(413, f"the body has more than {limit:,} {what}, the most that are read")


def _require_object(document: Any) -> dict[str, Any]:
    if not isinstance(document, dict):
        raise Problem(400, f"the body must be a JSON object, not {describe_type(document)}")
    return document


def _malformed(error: Exception) -> Problem:
    return Problem(400, f"the body is not JSON: {error}")


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")
