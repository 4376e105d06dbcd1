"""The names of the two versions, and the order in which they are measured."""

from __future__ import annotations

NAMES = ("this", "other")


def order_of(turn: int) -> tuple[str, str]:
    """Return which version is measured first and second: A B, then B A, so that drift cancels.

    Args:
        turn: number of the round.
    """
    return NAMES if turn % 2 == 0 else (NAMES[1], NAMES[0])
