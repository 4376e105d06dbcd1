"""Resident memory of this process, or of another one."""

from __future__ import annotations

import gc
import resource
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path

import psutil


def resident_bytes(pid: int | None = None) -> int:
    """Return the present size, in bytes.

    Args:
        pid: id of the process; this one if none.
    """
    return int(psutil.Process(pid).memory_info().rss)


def growth(sizes: Sequence[int]) -> float:
    """Return how much larger the last third of the sizes is on average than the second third.

    Caches are filled in the beginning, so the first third does not count.

    Args:
        sizes: sizes in bytes, in the order of time.
    """
    third = max(1, len(sizes) // 3)
    return statistics.fmean(sizes[-third:]) - statistics.fmean(sizes[-2 * third : -third])


def reset_peak(pid: int | None = None) -> None:
    """Set the peak to the present size; has no effect on systems without ``/proc``.

    Args:
        pid: id of the process; this one if none.
    """
    gc.collect()
    clear = Path(f"/proc/{pid or 'self'}/clear_refs")
    if clear.exists():
        clear.write_text("5", encoding="ascii")


def peak_bytes(pid: int | None = None) -> int:
    """Return the largest size in bytes, since :func:`reset_peak` on systems with ``/proc``.

    Args:
        pid: id of the process; this one if none. On systems without ``/proc``, the present size
            stands for the peak of another process.
    """
    status = Path(f"/proc/{pid or 'self'}/status")
    if status.exists():
        for line in status.read_text(encoding="ascii").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    if pid is not None:
        return resident_bytes(pid)
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
