"""Opaque cursors: where a list or a trace goes on."""

from __future__ import annotations

import base64
import binascii

from energy_flow.errors import Fault
from service.problems import invalid


def encode(*numbers: int) -> str:
    """A cursor for a position."""
    text = ".".join(str(number) for number in numbers)
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def decode(cursor: str, count: int) -> tuple[int, ...]:
    """The position of a cursor.

    Raises:
        Problem: 422, it is none of ours.
    """
    try:
        text = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode()
        numbers = tuple(int(part) for part in text.split("."))
    except (binascii.Error, ValueError):
        numbers = ()
    if len(numbers) != count or any(abs(number) >= 2**63 for number in numbers):
        raise invalid([Fault(("cursor",), "is not a cursor of this list", cursor)])
    return numbers
