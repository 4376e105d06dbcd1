"""Limits of control groups, read from trees of files as the kernel writes them."""

from __future__ import annotations

from pathlib import Path

import pytest

from energy_flow.runtime.cgroup import (
    CpuQuota,
    GroupMemory,
    find_throttle_counts,
    read_cpu_quota,
    read_group_memory,
    read_throttled_seconds,
)
from energy_flow.runtime.limits import find_cpu_limit, memory_limit

GIB = 2**30
UNLIMITED_V1 = "9223372036854771712"
MOUNTS = """\
22 27 0:21 / /proc rw,relatime - proc proc rw
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
"""
V2 = "30 23 0:26 {root} /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n"
V1 = """\
32 31 0:29 {root} /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct
35 31 0:32 {root} /sys/fs/cgroup/memory rw,relatime shared:9 - cgroup cgroup rw,memory
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
"""


def tree(root: Path, groups: str, mounts: str, files: dict[str, str]) -> Path:
    """Write the files of a machine below a folder, and return it."""
    texts = {"proc/self/cgroup": groups, "proc/self/mountinfo": MOUNTS + mounts}
    texts |= {f"sys/fs/cgroup/{name}": text for name, text in files.items()}
    for name, text in texts.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def v2_group(
    folder: str, limit: str, used: int, cached: int = 0, high: str = "max"
) -> dict[str, str]:
    half = cached // 2
    stat = f"anon 5\nfile {cached}\ninactive_file {half}\nactive_file {cached - half}\n"
    return {
        f"{folder}memory.max": f"{limit}\n",
        f"{folder}memory.high": f"{high}\n",
        f"{folder}memory.current": f"{used}\n",
        f"{folder}memory.stat": stat,
    }


def v1_group(folder: str, limit: str, used: int, cached: int = 0) -> dict[str, str]:
    stat = f"cache 1\nactive_file 7\ntotal_inactive_file {cached}\ntotal_active_file 0\n"
    return {
        f"memory/{folder}memory.limit_in_bytes": f"{limit}\n",
        f"memory/{folder}memory.usage_in_bytes": f"{used}\n",
        f"memory/{folder}memory.stat": stat,
    }


def test_a_container_of_version_2(tmp_path: Path) -> None:
    files = v2_group("", str(2 * GIB), GIB, cached=GIB // 2)
    root = tree(tmp_path, "0::/\n", V2.format(root="/"), files | {"cpu.max": "150000 100000\n"})
    memory = read_group_memory(root)
    assert memory == GroupMemory(2 * GIB, GIB // 2, "/sys/fs/cgroup/memory.max")
    assert memory.free_bytes == 3 * GIB // 2
    assert read_cpu_quota(root) == CpuQuota(1.5, "/sys/fs/cgroup/cpu.max")


def test_the_lowest_limit_of_nested_groups_holds(tmp_path: Path) -> None:
    files = {
        **v2_group("a/b/c/", "max", 100),
        **v2_group("a/b/", str(GIB), 200),
        **v2_group("a/", str(4 * GIB), 300),
        "a/b/c/cpu.max": "max 100000\n",
        "a/b/cpu.max": "400000 100000\n",
        "a/cpu.max": "50000 20000\n",
    }
    root = tree(tmp_path, "0::/a/b/c\n", V2.format(root="/"), files)
    assert read_group_memory(root) == GroupMemory(GIB, 200, "/sys/fs/cgroup/a/b/memory.max")
    assert read_cpu_quota(root) == CpuQuota(2.5, "/sys/fs/cgroup/a/cpu.max")


def test_a_group_that_others_fill_limits_more_than_a_lower_limit(tmp_path: Path) -> None:
    files = v2_group("a/b/", str(GIB), 0) | v2_group("a/", str(4 * GIB), 7 * GIB // 2)
    root = tree(tmp_path, "0::/a/b\n", V2.format(root="/"), files)
    memory = read_group_memory(root)
    assert memory is not None
    assert (memory.source, memory.free_bytes) == ("/sys/fs/cgroup/a/memory.max", GIB // 2)


def test_above_memory_high_a_group_is_slowed_down(tmp_path: Path) -> None:
    files = v2_group("", str(2 * GIB), 0, high=str(GIB))
    root = tree(tmp_path, "0::/\n", V2.format(root="/"), files)
    assert read_group_memory(root) == GroupMemory(GIB, 0, "/sys/fs/cgroup/memory.high")


@pytest.mark.parametrize("mount_root", ["/", "/docker/abc"])
def test_a_container_of_version_1(tmp_path: Path, mount_root: str) -> None:
    # Docker shows the group of the container as the root of the mount, but its path on the host.
    folder = "docker/abc/" if mount_root == "/" else ""
    files = {
        **v1_group(folder, str(GIB), 300, cached=100),
        f"cpu,cpuacct/{folder}cpu.cfs_quota_us": "50000\n",
        f"cpu,cpuacct/{folder}cpu.cfs_period_us": "100000\n",
    }
    groups = "12:cpu,cpuacct:/docker/abc\n4:memory:/docker/abc\n1:name=systemd:/x\n0::/docker/abc\n"
    root = tree(tmp_path, groups, V1.format(root=mount_root), files)
    found = read_group_memory(root)
    assert found == GroupMemory(GIB, 200, f"/sys/fs/cgroup/memory/{folder}memory.limit_in_bytes")
    quota = read_cpu_quota(root)
    assert quota == CpuQuota(0.5, f"/sys/fs/cgroup/cpu,cpuacct/{folder}cpu.cfs_quota_us")


def test_no_limit_is_none(tmp_path: Path) -> None:
    first = tree(
        tmp_path / "1",
        "12:cpu,cpuacct:/\n4:memory:/x\n0::/\n",
        V1.format(root="/"),
        {
            **v1_group("x/", UNLIMITED_V1, 5),
            **v1_group("", UNLIMITED_V1, 5),
            "cpu,cpuacct/cpu.cfs_quota_us": "-1\n",
            "cpu,cpuacct/cpu.cfs_period_us": "100000\n",
        },
    )
    second = tree(
        tmp_path / "2",
        "0::/\n",
        V2.format(root="/"),
        v2_group("", "max", 5) | {"cpu.max": "max 100000\n"},
    )
    for root in (first, second):
        assert read_group_memory(root) is None
        assert read_cpu_quota(root) is None
        assert find_cpu_limit(root) == find_cpu_limit(tmp_path / "nothing")


@pytest.mark.parametrize(
    ("groups", "mounts"),
    [
        ("", ""),
        ("nonsense\n0:\n:::\n", "nonsense\n - \n1 2 3 - cgroup2\n"),
        ("0::/../..\n", V2.format(root="/")),
        ("0::/gone/away\n", V2.format(root="/")),
        ("0::/a\n", V2.format(root="/b")),
    ],
)
def test_what_cannot_be_read_is_no_limit(tmp_path: Path, groups: str, mounts: str) -> None:
    root = tree(tmp_path, groups, mounts, {"cpu.max": "nonsense\n", "memory.max": "\n"})
    assert read_group_memory(root) is None
    assert read_cpu_quota(root) is None
    assert find_throttle_counts(root) == ()
    assert find_cpu_limit(root).threads >= 1


@pytest.mark.parametrize("path", ["/../..", "/gone/away"])
def test_a_path_outside_of_a_namespace_leads_to_the_groups_that_are_seen(
    tmp_path: Path, path: str
) -> None:
    files = v2_group("", str(GIB), 0)
    root = tree(tmp_path, f"0::{path}\n", V2.format(root="/"), files)
    assert read_group_memory(root) == GroupMemory(GIB, 0, "/sys/fs/cgroup/memory.max")


def test_a_mount_point_with_a_space(tmp_path: Path) -> None:
    mounts = r"30 23 0:26 / /mnt/control\040groups rw - cgroup2 cgroup2 rw" + "\n"
    root = tree(tmp_path, "0::/\n", mounts, {})
    folder = root / "mnt/control groups"
    folder.mkdir(parents=True)
    (folder / "cpu.max").write_text("200000 100000\n")
    assert read_cpu_quota(root) == CpuQuota(2.0, "/mnt/control groups/cpu.max")


def test_throttled_time_is_read_where_there_is_a_quota(tmp_path: Path) -> None:
    second = tree(
        tmp_path / "2",
        "0::/a\n",
        V2.format(root="/"),
        {
            "a/cpu.max": "100000 100000\n",
            "a/cpu.stat": "usage_usec 9\nthrottled_usec 1500000\n",
            "cpu.stat": "throttled_usec 7\n",
        },
    )
    first = tree(
        tmp_path / "1",
        "12:cpu,cpuacct:/\n",
        V1.format(root="/"),
        {
            "cpu,cpuacct/cpu.cfs_quota_us": "100000\n",
            "cpu,cpuacct/cpu.cfs_period_us": "100000\n",
            "cpu,cpuacct/cpu.stat": "nr_periods 3\nthrottled_time 1500000000\n",
        },
    )
    for root in (first, second):
        assert read_throttled_seconds(find_throttle_counts(root)) == 1.5


@pytest.mark.parametrize(
    ("quota", "threads"), [("10000", 1), ("100000", 1), ("99999999", None), ("max", None)]
)
def test_threads_are_the_lowest_of_cores_affinity_and_quota(
    tmp_path: Path, quota: str, threads: int | None
) -> None:
    root = tree(tmp_path, "0::/\n", V2.format(root="/"), {"cpu.max": f"{quota} 100000\n"})
    found = find_cpu_limit(root)
    assert found.threads == (threads or find_cpu_limit(tmp_path / "nothing").threads)
    assert (found.source == "/sys/fs/cgroup/cpu.max") == (threads is not None)


def test_the_limit_of_runs_is_a_share_of_what_a_group_leaves(tmp_path: Path) -> None:
    files = v2_group("", str(GIB), GIB // 4)
    root = tree(tmp_path, "0::/\n", V2.format(root="/"), files)
    assert memory_limit("cpu", 0.5, root) == 3 * GIB // 8
    (root / "sys/fs/cgroup/memory.current").write_text(str(2 * GIB))
    assert memory_limit("cpu", 0.5, root) == 0
    (root / "sys/fs/cgroup/memory.max").write_text(str(2**58))
    assert memory_limit("cpu", 1.0, root) == memory_limit("cpu", 1.0, tmp_path / "nothing")
