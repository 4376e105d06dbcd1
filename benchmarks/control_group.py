"""A control group with a limit, where this machine allows one: usually root alone may make it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")
PERIOD_US = 100_000

_PEAKS = ("memory.max_usage_in_bytes", "memory.peak")


@contextmanager
def cpu_quota(cores: float) -> Iterator[Path | None]:
    """Make a control group with a quota of processor time, until the end of the block.

    Args:
        cores: seconds of processor time in a second.

    Yields:
        The folder of the group, or none if this machine does not allow one.
    """
    quota = int(cores * PERIOD_US)
    first = {"cpu.cfs_period_us": str(PERIOD_US), "cpu.cfs_quota_us": str(quota)}
    with _control_group("cpu", first, {"cpu.max": f"{quota} {PERIOD_US}"}) as folder:
        yield folder


@contextmanager
def memory_group(limit_bytes: int) -> Iterator[Path | None]:
    """Make a control group with a limit of memory, until the end of the block.

    Args:
        limit_bytes: most memory of its processes.

    Yields:
        The folder of the group, or none if this machine does not allow one.
    """
    limit = str(limit_bytes)
    first, second = {"memory.limit_in_bytes": limit}, {"memory.max": limit}
    with _control_group("memory", first, second) as folder:
        yield folder


def enter(group: Path) -> None:
    """Move this process into a group; what it imports afterwards finds the group's limits.

    Args:
        group: its folder.
    """
    (group / "cgroup.procs").write_text(str(os.getpid()), encoding="ascii")


def read_peak(group: Path) -> int | None:
    """Return the largest memory of a group, with files in the page cache; none if not counted.

    Args:
        group: its folder.
    """
    for name in _PEAKS:
        file = group / name
        if file.is_file():
            return int(file.read_text(encoding="ascii"))
    return None


def reset_peak(group: Path) -> None:
    """Count the largest memory of a group anew, where the kernel allows it.

    Args:
        group: its folder.
    """
    for name in _PEAKS:
        with suppress(OSError):
            if (group / name).is_file():
                (group / name).write_text("0", encoding="ascii")


@contextmanager
def _control_group(
    controller: str, first: dict[str, str], second: dict[str, str]
) -> Iterator[Path | None]:
    """Make a group of version 1 or 2 with the files that its limit needs."""
    version_1 = ROOT / controller
    files = first if version_1.is_dir() else second
    folder = (version_1 if version_1.is_dir() else ROOT) / f"energy-flow-{os.getpid()}"
    try:
        folder.mkdir()
    except OSError:
        yield None
        return
    try:
        try:
            for name, value in files.items():
                (folder / name).write_text(value, encoding="ascii")
        except OSError:
            # Version 2 without this controller for groups below the root.
            yield None
        else:
            yield folder
    finally:
        # A group whose processes have just ended can be busy; the next user sees it then.
        with suppress(OSError):
            folder.rmdir()
