"""The machine that numbers are computed on, as far as their last bits depend on it."""

from __future__ import annotations

import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tests.compatibility.program import THREADS


def describe_machine() -> dict[str, Any]:
    """Return the processor, its number of threads and the libraries that compute."""
    import torch

    return {
        "cpu": _processor(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "threads": THREADS,
        **{name: version(name) for name in ("torch", "numpy", "numba", "llvmlite")},
    }


def _processor() -> str:
    """Name, family, model and stepping; on other systems than Linux, what Python knows."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    fields = dict(line.split(":", 1) for line in lines if ":" in line)
    known = {name.strip(): value.strip() for name, value in fields.items()}
    named = ("model name", "cpu family", "model", "stepping")
    return ", ".join(known[name] for name in named if name in known) or platform.machine()
