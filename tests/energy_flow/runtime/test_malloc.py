"""Freed memory: kept during work, returned to the system afterwards."""

from __future__ import annotations

import subprocess
import sys

import pytest

from energy_flow.runtime.malloc import HeapTrimmer

PROGRAM = """
import psutil, torch
from energy_flow.runtime.malloc import trim_heap, configure_malloc

def held():
    return psutil.Process().memory_info().rss - before

torch.ones(2**22).sum()
assert configure_malloc()
before = psutil.Process().memory_info().rss
pieces = [torch.ones(2**22) for _ in range(16)]
filled = held()
del pieces
kept = held()
trim_heap()
print(filled, kept, held())
"""


@pytest.mark.slow
def test_freed_memory_stays_until_it_is_trimmed() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True
    )
    filled, kept, left = map(int, ended.stdout.split())
    # Of 256 MiB, but for what lay ready before.
    assert filled >= 240 * 2**20
    assert kept >= 240 * 2**20
    assert left <= 32 * 2**20


def test_memory_is_returned_soon_after_work_and_again_while_there_is_none() -> None:
    now, trimmed = [0.0], list[float]()
    heap = HeapTrimmer(lambda: trimmed.append(now[0]), lambda: now[0])

    def wait_until(end: float) -> None:
        while now[0] < end:
            now[0] += 0.5
            heap.trim_if_idle()

    wait_until(10)
    heap.record_work()
    wait_until(14)
    heap.record_work()
    wait_until(100)
    assert trimmed == [19, 49, 79]
