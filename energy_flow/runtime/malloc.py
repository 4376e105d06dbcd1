"""The C library's heap: what was freed is kept for the next step, and given back when idle.

A step on a CPU takes and frees some hundred megabytes. By default glibc returns large pieces to the
system at once, which hands them out again page by page, filled with zeros: up to a third of a
step's time. Elsewhere than with glibc nothing happens here.
"""

from __future__ import annotations

import ctypes
import sys

# From malloc.h.
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX, _ARENA_MAX = -1, -2, -4, -8
_NEVER = -1
_PAD_BYTES = 64 * 2**20


def keep_freed() -> bool:
    """From now on this process keeps memory that is freed; says whether it does.

    This changes the whole process: it is for programs to call, before they start threads, not for
    libraries.
    """
    mallopt = getattr(_c_library(), "mallopt", None)
    if mallopt is None:
        return False
    wanted = (
        # No mapping of its own for a large piece: it would go back with the piece.
        (_MMAP_MAX, 0),
        (_TRIM_THRESHOLD, _NEVER),
        (_TOP_PAD, _PAD_BYTES),
        # One heap for all threads, or each would keep its own.
        (_ARENA_MAX, 1),
    )
    return all(mallopt(option, value) == 1 for option, value in wanted)


def give_back() -> None:
    """Returns what is free to the system; takes milliseconds."""
    trim = getattr(_c_library(), "malloc_trim", None)
    if trim is not None:
        trim(ctypes.c_size_t(0))


def _c_library() -> ctypes.CDLL | None:
    return ctypes.CDLL(None) if sys.platform == "linux" else None
