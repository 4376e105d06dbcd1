"""What this process may use: memory, and threads that compute."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from pathlib import Path

import psutil
import torch

from energy_flow.runtime.cgroup import read_cpu_quota, read_group_memory

MACHINE = "machine"
AFFINITY = "affinity"


@dataclass(frozen=True, slots=True)
class CpuLimit:
    """Cores that this process may use.

    Attributes:
        cores: of processor time in a second; a quota may be a fraction.
        source: ``machine``, ``affinity``, or the file of the control group that sets a quota.
    """

    cores: float
    source: str

    @property
    def threads(self) -> int:
        """Most threads that compute at once; a fraction of a core counts as one."""
        return math.ceil(self.cores)


def find_cpu_limit(root: Path = Path("/")) -> CpuLimit:
    """Return the lowest of the machine's cores, the affinity of this process, and its quota.

    Args:
        root: of the file system.
    """
    limits = [CpuLimit(os.cpu_count() or 1, MACHINE)]
    if hasattr(os, "sched_getaffinity"):
        limits.append(CpuLimit(len(os.sched_getaffinity(0)), AFFINITY))
    quota = read_cpu_quota(root)
    if quota is not None:
        limits.append(CpuLimit(quota.cores, quota.source))
    return min(limits, key=lambda limit: limit.cores)


def computing_threads() -> int:
    """Return the number of threads on which a step computes on a CPU."""
    return torch.get_num_threads()


def memory_limit(device: str, share: float, root: Path = Path("/")) -> int:
    """Return the bytes that may be used.

    On a CPU this is a share of the machine's memory, or of what the limit of a control group leaves
    at this moment: beside this process, as it is before its first run, and the others of the group.
    On a CUDA device it is a share of what other processes leave at this moment.

    Args:
        device: a CUDA device, or a CPU, which has the memory of the host.
        share: of its memory, in (0, 1].
        root: of the file system.
    """
    if torch.device(device).type == "cuda":
        free, total = torch.cuda.mem_get_info(device)
        return device_memory_limit(share, free, total, torch.cuda.memory_reserved(device))
    machine = int(psutil.virtual_memory().total)
    group = read_group_memory(root)
    return int(share * (machine if group is None else min(machine, group.free_bytes)))


def device_memory_limit(share: float, free: int, total: int, reserved: int) -> int:
    """Return the bytes of a device that may be used.

    Args:
        share: of what other processes leave, in (0, 1].
        free: bytes that no process has.
        total: bytes of the device.
        reserved: bytes that this process has for tensors.
    """
    return int(share * min(total, free + reserved))
