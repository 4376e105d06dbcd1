"""Memory that was freed: kept while there is work, given back afterwards."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import psutil, torch
from energy_flow.runtime.malloc import give_back, keep_freed

def held():
    return psutil.Process().memory_info().rss - before

torch.ones(2**22).sum()
assert keep_freed()
before = psutil.Process().memory_info().rss
pieces = [torch.ones(2**22) for _ in range(16)]
filled = held()
del pieces
kept = held()
give_back()
print(filled, kept, held())
"""


def test_what_is_freed_stays_until_it_is_given_back() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True
    )
    filled, kept, left = map(int, ended.stdout.split())
    # Of 256 MiB, but for what lay ready before.
    assert filled >= 240 * 2**20
    assert kept >= 240 * 2**20
    assert left <= 32 * 2**20
