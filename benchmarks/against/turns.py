"""Who is measured when."""

from __future__ import annotations

NAMES = ("this", "other")


def order_of(turn: int) -> tuple[str, str]:
    """Return who is measured first and second: A B, B A, and so on, so that drift cancels."""
    return NAMES if turn % 2 == 0 else (NAMES[1], NAMES[0])
