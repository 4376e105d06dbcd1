"""JSON bodies, parsed without blocking the event loop.

A parser keeps the interpreter's lock until it returns, so a large body would block the event loop
even if another thread parsed it. Large arrays of numbers are therefore cut out and parsed a piece
at a time into numpy; the rest of the body must be small.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import Any, Final

import orjson

from service.problems import Problem
from service.requests.array_faults import find_array_fault
from service.requests.large_arrays import (
    PIECE_BYTES,
    LargeArray,
    UnusualArrayError,
    count_up_to,
    cut_arrays,
    malformed,
)
from service.requests.non_finite import WORDS, parse_non_finite
from service.requests.number_rows import describe_type
from service.requests.structure import check_structure
from service.threads import Threads, in_thread

MAX_WHOLE_BYTES: Final = 2**20
"""Most bytes that are parsed at once; they take some 10 ms, in which nothing else is answered."""

MAX_CONTAINERS: Final = 100_000
"""Most lists and objects of a document that is parsed at once; they take longer than numbers."""

MAX_MEMBERS: Final = 1000
"""Most members of all objects of a body. Each that is wrong has a fault of its own."""


def parse_json(text: bytes, arrays: Collection[str] = ()) -> Any:
    """Return the document.

    Args:
        text: JSON text.
        arrays: Names of members, at any depth, with lists of numbers that are checked elsewhere.

    Raises:
        Problem: 400, the text is not JSON. ``NaN`` and ``Infinity`` are not JSON; 413, it has more
            than :data:`MAX_MEMBERS` members or :data:`MAX_CONTAINERS` lists and objects; 422, it is
            too deep, or has a member twice.
    """
    _check_members(text)
    # None is shorter than two bytes.
    if len(text) > 2 * MAX_CONTAINERS:
        _check_count(text, b"[{", MAX_CONTAINERS, "lists and objects")
    document = parse_value(text)
    check_structure(document, text, arrays)
    return document


async def parse_object(body: bytes) -> dict[str, Any]:
    """Return the members of a JSON object; a large one is parsed in a thread.

    Args:
        body: JSON text.

    Raises:
        Problem: 400, the body is not JSON, or not an object; 413, it is too large or has too many
            values; 422, it is too deep, or has a member twice.
    """
    _check_size(len(body), MAX_WHOLE_BYTES)
    if len(body) <= PIECE_BYTES:
        return _require_object(parse_json(body))
    return _require_object(await in_thread(Threads.BODIES, parse_json, body))


def parse_object_with_arrays(
    body: bytes,
    arrays: Sequence[LargeArray],
    piece_bytes: int = PIECE_BYTES,
    whole_bytes: int = MAX_WHOLE_BYTES,
) -> dict[str, Any]:
    """Return the members of a JSON object that may hold large arrays of numbers.

    Args:
        body: JSON text.
        arrays: Where the arrays may be.
        piece_bytes: As :func:`parse_in_pieces`.
        whole_bytes: As :func:`parse_in_pieces`.

    Returns:
        The members, with arrays as :func:`parse_in_pieces` returns them.

    Raises:
        Problem: As :func:`parse_in_pieces` and :func:`parse_json`; also 400, the body is not an
            object.
    """
    if len(body) > piece_bytes:
        _check_members(body)
    parse = partial(parse_json, arrays={array.member for array in arrays})
    return _require_object(parse_in_pieces(body, arrays, parse, piece_bytes, whole_bytes))


def parse_in_pieces(
    body: bytes,
    arrays: Sequence[LargeArray],
    parse: Callable[[bytes], Any],
    piece_bytes: int = PIECE_BYTES,
    whole_bytes: int = MAX_WHOLE_BYTES,
) -> Any:
    """Return a JSON document that may hold large arrays of numbers.

    Args:
        body: JSON text.
        arrays: Where the arrays may be.
        parse: Parses JSON text without them.
        piece_bytes: Bytes of an array that are parsed at once. A smaller body is parsed as a whole.
        whole_bytes: Most bytes of a body that is parsed as a whole if its arrays are unusual.

    Returns:
        The document. An array is float64 [rows, columns] or [numbers]. It is a list, as the parser
        returns it, if the body is small or if anything about it is unusual.

    Raises:
        Problem: As ``parse``; also 413, the body has too much beside its arrays; 422, it has more
            than ``whole_bytes`` and its arrays have a fault.
    """
    if len(body) <= piece_bytes:
        return parse(body)
    is_large = len(body) > whole_bytes
    try:
        cut = cut_arrays(body, arrays, piece_bytes)
        _check_size(cut.rest_bytes, whole_bytes)
        document = parse(cut.join_rest())
        is_complete = cut.put_back(document)
    except UnusualArrayError as unusual:
        if is_large or count_up_to(body, b"[{", MAX_CONTAINERS) > MAX_CONTAINERS:
            raise find_array_fault(body, unusual) from None
    except Problem:
        if is_large:
            raise
    else:
        if is_large or is_complete:
            return document
    return parse(body)


def parse_value(text: bytes) -> Any:
    """Return a short JSON document, whatever its structure is.

    Args:
        text: JSON text.

    Raises:
        Problem: 400, the text is not JSON.
    """
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        reason = error
    # A number such as 1e999 is JSON, but no double. The slower parser reads it as infinity, so that
    # a later check can name its place.
    has_large = "infinity" in str(reason)
    why: Exception = reason
    if has_large or WORDS.search(text) is not None:
        try:
            document = parse_non_finite(text)
        except (ValueError, RecursionError) as error:
            why = error if has_large else reason
        else:
            if has_large:
                return document
    raise malformed(why) from None


def _check_size(size: int, most: int) -> None:
    if size > most:
        message = f"the body may have {most:,} bytes beside its embeddings and keys and has more"
        raise Problem(413, message, extra={"limit_bytes": most})


def _check_members(body: bytes) -> None:
    """Refuse a body with too many members. A colon in a string counts as one."""
    _check_count(body, b":", MAX_MEMBERS, "members")


def _check_count(body: bytes, characters: bytes, limit: int, what: str) -> None:
    if count_up_to(body, characters, limit) > limit:
        raise Problem(413, f"the body has more than {limit:,} {what}, the most that are read")


def _require_object(document: Any) -> dict[str, Any]:
    if not isinstance(document, dict):
        raise Problem(400, f"the body must be a JSON object, not {describe_type(document)}")
    return document
