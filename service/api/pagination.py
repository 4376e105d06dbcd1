"""Lists in pages, and the opaque cursors that continue them."""

from __future__ import annotations

import base64
import binascii
import contextlib
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Final, TypeVar

from fastapi import Query

from energy_flow.errors import Fault
from service.problems import Problem, invalid

Row = TypeVar("Row")

MAX_ITEMS: Final = 1000
"""Most items of a page."""
MAX_CURSOR_CHARACTERS: Final = 100
"""Longest cursor that can be one."""
DEFAULT_ITEMS: Final = 100
"""Items of a page if the request gives no number."""

Limit = Annotated[int, Query(ge=1, le=MAX_ITEMS)]


def encode_cursor(*numbers: int) -> str:
    """Return a cursor for a position."""
    text = ".".join(str(number) for number in numbers)
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def decode_cursor(cursor: str, count: int, least: int = 0) -> tuple[int, ...]:
    """Return the position of a cursor.

    Args:
        cursor: The cursor.
        count: How many numbers its position has.
        least: Smallest number of a position.

    Raises:
        Problem: 422, it is no such cursor.
    """
    numbers: tuple[int, ...] = ()
    if len(cursor) <= MAX_CURSOR_CHARACTERS:
        with contextlib.suppress(binascii.Error, ValueError):
            text = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode()
            numbers = tuple(int(part) for part in text.split("."))
    if len(numbers) != count or not all(least <= number < 2**63 for number in numbers):
        raise refuse_cursor(cursor)
    return numbers


def refuse_cursor(cursor: str) -> Problem:
    """Return the refusal of a cursor that belongs to no place of the list."""
    message = "is not a cursor of this list; send next_cursor of the page before"
    return invalid([Fault(("cursor",), message, cursor)])


def parse_cursor(cursor: str | None, least: int = 0) -> int | None:
    """Return the position of a list's cursor; ``None`` at the beginning.

    Args:
        cursor: The cursor.
        least: Smallest position of the list.

    Raises:
        Problem: 422, it is no such cursor.
    """
    return None if cursor is None else decode_cursor(cursor, 1, least)[0]


def make_page(
    rows: Sequence[Row],
    limit: int,
    render: Callable[[Row], Any],
    find_position: Callable[[Row, Row], int],
) -> dict[str, Any]:
    """Return a page of a list as JSON data.

    Args:
        rows: Rows of the page, and one more if the list continues.
        limit: Most items of the page.
        render: Returns the item of a row.
        find_position: Returns the position of the next page from the last row of this page and the
            first row behind it.
    """
    page = rows[:limit]
    following = None
    if len(rows) > limit:
        following = encode_cursor(find_position(page[-1], rows[limit]))
    return {"items": [render(row) for row in page], "next_cursor": following}
