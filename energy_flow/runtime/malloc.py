"""The C library's memory allocator: keep freed memory for the next step, return it when idle.

A step on a CPU allocates and frees some hundred megabytes. By default glibc returns large blocks to
the system at once, which must fill their pages with zeros before they are used again: up to a third
of a step's time. Without glibc, these functions have no effect.
"""

from __future__ import annotations

import ctypes
import sys
import time
from collections.abc import Callable

TRIM_AFTER_SECONDS = 5.0
"""Idle time after which freed memory is returned to the system; allocating it again costs time."""

TRIM_AGAIN_SECONDS = 30.0
"""Idle time after which it is done again: others than the engine use memory, too."""

# From malloc.h.
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX, _ARENA_MAX = -1, -2, -4, -8
_NEVER = -1
_PAD_BYTES = 64 * 2**20


def configure_malloc() -> bool:
    """Make this process keep memory that is freed, and return whether it does.

    This changes the whole process. Programs call it before they start threads; libraries must not.
    """
    mallopt = getattr(_c_library(), "mallopt", None)
    if mallopt is None:
        return False
    wanted = (
        # No separate mapping for a large block: freeing the block would unmap it.
        (_MMAP_MAX, 0),
        (_TRIM_THRESHOLD, _NEVER),
        (_TOP_PAD, _PAD_BYTES),
        # One heap for all threads; otherwise each keeps its own.
        (_ARENA_MAX, 1),
    )
    return all(mallopt(option, value) == 1 for option, value in wanted)


def trim_heap() -> None:
    """Return free memory to the system; takes milliseconds."""
    trim = getattr(_c_library(), "malloc_trim", None)
    if trim is not None:
        trim(ctypes.c_size_t(0))


class HeapTrimmer:
    """Returns freed memory to the system, soon after work and then again and again.

    Args:
        trim: returns the memory.
        clock: returns seconds.
    """

    def __init__(
        self,
        trim: Callable[[], None] = trim_heap,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._trim = trim
        self._clock = clock
        self._next_time = clock() + TRIM_AGAIN_SECONDS

    def record_work(self) -> None:
        """Start the idle time anew."""
        self._next_time = self._clock() + TRIM_AFTER_SECONDS

    def trim_if_idle(self) -> None:
        """Trim the heap if there has been no work, or no trimming, for long enough."""
        if self._clock() >= self._next_time:
            self._next_time = self._clock() + TRIM_AGAIN_SECONDS
            self._trim()


def _c_library() -> ctypes.CDLL | None:
    return ctypes.CDLL(None) if sys.platform == "linux" else None
