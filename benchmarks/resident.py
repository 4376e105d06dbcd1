"""Resident memory of this process."""

from __future__ import annotations

import gc
import resource
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path

import psutil


def resident_bytes() -> int:
    """Now."""
    return int(psutil.Process().memory_info().rss)


def growth(sizes: Sequence[int]) -> float:
    """How much larger the last third is on average than the one before it.

    What is there at the beginning fills up, so the first third does not count.
    """
    third = max(1, len(sizes) // 3)
    return statistics.fmean(sizes[-third:]) - statistics.fmean(sizes[-2 * third : -third])


def forget_peak() -> None:
    """Lets the peak start again from what is resident now, where the system can do that."""
    gc.collect()
    clear = Path("/proc/self/clear_refs")
    if clear.exists():
        clear.write_text("5", encoding="ascii")


def peak_bytes() -> int:
    """The largest resident size, since :func:`forget_peak` where the system tells that."""
    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text(encoding="ascii").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
