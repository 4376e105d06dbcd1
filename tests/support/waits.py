"""Waits for conditions, with one time limit."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

LIMIT_SECONDS = 1200.0
"""Time limit of every wait; much longer than any wait lasts on a busy machine."""


def until(condition: Callable[[], T | None], seconds: float = LIMIT_SECONDS) -> T:
    """Wait until a condition is true, and return its value.

    Args:
        condition: called every hundredth of a second.
        seconds: time limit.
    """
    end = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < end, "the condition did not hold in time"
        time.sleep(0.01)
    return value
