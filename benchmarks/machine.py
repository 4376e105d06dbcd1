"""The machine and the versions on which figures are measured."""

from __future__ import annotations

import os
import platform
import subprocess
from pathlib import Path
from typing import Any

import psutil
import torch


def describe_machine(device: str) -> dict[str, Any]:
    """Return machine, versions and commit, as plain JSON data.

    Args:
        device: device that is measured.
    """
    described: dict[str, Any] = {
        "cpu": cpu_model(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "memory_bytes": psutil.virtual_memory().total,
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": platform.python_version(),
        "torch": torch.__version__,
        "device": device,
        # Threads that spin while they wait occupy cores that other threads need.
        "wait_policy": os.environ.get("OMP_WAIT_POLICY", "default"),
        "commit": commit(),
        # Other work on the machine makes every figure noisier.
        "load_average": round(os.getloadavg()[0], 2),
    }
    if torch.device(device).type == "cuda":
        described["accelerator"] = torch.cuda.get_device_name(device)
    return described


def cpu_model() -> str:
    """Return the name of the processor, or its architecture if the system has no name."""
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def commit() -> str | None:
    """Return the commit of the code, with ``-dirty`` if files differ; none outside git."""
    try:
        described = subprocess.run(
            ["git", "--no-optional-locks", "describe", "--always", "--dirty", "--abbrev=12"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return described.stdout.strip()
