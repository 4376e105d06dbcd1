"""Limits of memory and of processor time that Linux control groups set, of version 1 and 2.

A container or a service is a control group. Groups are nested, and each one on the path from the
root to the group of a process may have limits; the lowest one holds. psutil and torch know the
machine only, so these functions read the files that the kernel documents in ``cgroup-v1`` and
``cgroup-v2``. What cannot be read counts as no limit.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

UNLIMITED_BYTES = 2**60
"""Version 1 writes a number beyond this where there is no limit."""

_RECLAIMED = ("inactive_file", "active_file")
# Escapes of the kernel in mountinfo.
_ESCAPES = (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\"))


@dataclass(frozen=True, slots=True)
class GroupMemory:
    """Memory of the group whose limit leaves the least room.

    Attributes:
        limit_bytes: most memory of all processes of the group.
        used_bytes: what they use now, without files that the kernel can drop.
        source: file that sets the limit.
    """

    limit_bytes: int
    used_bytes: int
    source: str

    @property
    def free_bytes(self) -> int:
        """Memory that is left now."""
        return max(0, self.limit_bytes - self.used_bytes)


@dataclass(frozen=True, slots=True)
class CpuQuota:
    """Processor time of the group that has the least.

    Attributes:
        cores: seconds of processor time in a second.
        source: file that sets it.
    """

    cores: float
    source: str


@dataclass(frozen=True, slots=True)
class _Group:
    version: int
    folder: Path


def read_group_memory(root: Path = Path("/")) -> GroupMemory | None:
    """Return the memory of the group that limits this process most; none without a limit.

    Args:
        root: of the file system.
    """
    found = [memory for group in _groups("memory", root) if (memory := _memory(group, root))]
    return min(found, key=lambda memory: memory.free_bytes, default=None)


def read_cpu_quota(root: Path = Path("/")) -> CpuQuota | None:
    """Return the processor time of the group that limits this process most; none without a limit.

    Args:
        root: of the file system.
    """
    found = [quota for group in _groups("cpu", root) if (quota := _quota(group, root))]
    return min(found, key=lambda quota: quota.cores, default=None)


def find_throttle_counts(root: Path = Path("/")) -> tuple[Path, ...]:
    """Return the files that count for how long quotas have kept this process from running.

    Args:
        root: of the file system.
    """
    return tuple(group.folder / "cpu.stat" for group in _groups("cpu", root) if _quota(group, root))


def read_throttled_seconds(counts: Sequence[Path]) -> float:
    """Return for how long quotas have kept processes of the groups from running.

    Args:
        counts: files that :func:`find_throttle_counts` has found.
    """
    total = 0.0
    for file in counts:
        stat = _read_stat(file)
        total += stat.get("throttled_usec", 0) / 1e6 + stat.get("throttled_time", 0) / 1e9
    return total


def _memory(group: _Group, root: Path) -> GroupMemory | None:
    names: tuple[str, ...]
    if group.version == 2:
        names = ("memory.max", "memory.high")
        usage, prefix = "memory.current", ""
    else:
        names = ("memory.limit_in_bytes",)
        usage, prefix = "memory.usage_in_bytes", "total_"
    limits = [
        (limit, group.folder / name)
        for name in names
        if (limit := _read_number(group.folder / name)) is not None and limit < UNLIMITED_BYTES
    ]
    if not limits:
        return None
    limit, file = min(limits)
    stat = _read_stat(group.folder / "memory.stat")
    files = sum(stat.get(prefix + name, 0) for name in _RECLAIMED)
    used = max(0, (_read_number(group.folder / usage) or 0) - files)
    return GroupMemory(limit, used, _as_source(file, root))


def _quota(group: _Group, root: Path) -> CpuQuota | None:
    if group.version == 2:
        file = group.folder / "cpu.max"
        words = (_read(file) or "").split()
        quota = _as_number(words[0]) if words else None
        period = _as_number(words[1]) if len(words) > 1 else None
    else:
        file = group.folder / "cpu.cfs_quota_us"
        quota = _read_number(file)
        period = _read_number(group.folder / "cpu.cfs_period_us")
    if quota is None or quota <= 0 or not period or period < 0:
        return None
    return CpuQuota(quota / period, _as_source(file, root))


def _groups(controller: str, root: Path) -> Iterator[_Group]:
    """Yield the groups of this process that a controller acts on, from its own to the root's."""
    paths = _read_paths(controller, root)
    for version, mount_root, mount_point in _read_mounts(controller, root):
        if version not in paths:
            continue
        top = root / mount_point.lstrip("/")
        folder = top / _below(paths[version], mount_root)
        # A path outside of the mount, as a container may see it, is not there.
        while not folder.is_dir() and folder != top:
            folder = folder.parent
        yield _Group(version, folder)
        while folder != top:
            folder = folder.parent
            yield _Group(version, folder)


def _read_paths(controller: str, root: Path) -> dict[int, str]:
    """Return the path of this process's group by version of the hierarchy."""
    paths = {}
    for line in (_read(root / "proc/self/cgroup") or "").splitlines():
        parts = line.split(":", 2)
        if len(parts) != 3:
            continue
        number, controllers, path = parts
        if number == "0" and not controllers:
            paths[2] = path
        elif controller in controllers.split(","):
            paths[1] = path
    return paths


def _read_mounts(controller: str, root: Path) -> Iterator[tuple[int, str, str]]:
    """Yield version, root and mount point of the hierarchies that may have a controller."""
    for line in (_read(root / "proc/self/mountinfo") or "").splitlines():
        mount, _, file_system = line.partition(" - ")
        fields, described = mount.split(), file_system.split()
        if len(fields) < 5 or len(described) < 3:
            continue
        kind, options = described[0], described[2].split(",")
        mount_root, mount_point = _unescape(fields[3]), _unescape(fields[4])
        if kind == "cgroup2":
            yield 2, mount_root, mount_point
        elif kind == "cgroup" and controller in options:
            yield 1, mount_root, mount_point


def _below(path: str, mount_root: str) -> str:
    """Return the path of a group, relative to the root of a mount; empty if it is not below."""
    try:
        below = PurePosixPath(path).relative_to(mount_root)
    except ValueError:
        # With a namespace of its own, a container sees a path from its own root.
        below = PurePosixPath(path.lstrip("/"))
    return "" if ".." in below.parts else str(below)


def _unescape(text: str) -> str:
    for escape, character in _ESCAPES:
        text = text.replace(escape, character)
    return text


def _read_stat(file: Path) -> dict[str, int]:
    stat = {}
    for line in (_read(file) or "").splitlines():
        name, _, value = line.partition(" ")
        number = _as_number(value)
        if number is not None:
            stat[name] = number
    return stat


def _read_number(file: Path) -> int | None:
    text = _read(file)
    return None if text is None else _as_number(text)


def _as_number(text: str) -> int | None:
    """Return a number; none for ``max``, which is no limit, and for what is no number."""
    try:
        return int(text)
    except ValueError:
        return None


def _as_source(file: Path, root: Path) -> str:
    return f"/{file.relative_to(root)}"


def _read(file: Path) -> str | None:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return None
