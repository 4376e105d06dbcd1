"""Resident memory of this process."""

from __future__ import annotations

import gc
import resource
import sys
from pathlib import Path

import psutil
import torch


def resident_bytes() -> int:
    """Now."""
    return int(psutil.Process().memory_info().rss)


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


def warm_arithmetic() -> None:
    """Loads what torch loads at the first product, so that it counts as there before."""
    for dtype in (torch.float32, torch.bfloat16):
        one = torch.ones((256, 256), dtype=dtype)
        (one @ one).sigmoid().float().tanh().sort()
