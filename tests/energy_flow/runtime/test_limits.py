"""A process in a real control group respects its limits; needs a machine that allows one."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks.control_group import cpu_quota, memory_group
from tests.support.repository import ROOT
from tests.support.waits import LIMIT_SECONDS

MIB = 2**20
LIMIT = 1640 * MIB

INSIDE = """
import json, sys
from pathlib import Path
from benchmarks.control_group import enter
enter(Path(sys.argv[1]))
"""

MEMORY = """
import torch
from energy_flow.runtime.cgroup import read_group_memory
from energy_flow.runtime.limits import memory_limit
before = memory_limit("cpu", 1.0)
taken = bytearray(200 * 2**20)
group = read_group_memory()
print(json.dumps([before, memory_limit("cpu", 1.0), group.limit_bytes, group.source]))
"""

THREADS = """
import os
from energy_flow.runtime.process import configure_process
configure_process()
import numba, pyarrow, torch
from energy_flow import FlowProcessor, presets
import numpy
processor = FlowProcessor(presets.debug().replace({"embedding_dim": 8}))
processor.simulate(numpy.ones((2, 8), numpy.float32))
print(json.dumps([torch.get_num_threads(), numba.get_num_threads(), pyarrow.cpu_count()]))
"""


def run_inside(group: Path | None, code: str, *, flags: tuple[str, ...] = ()) -> Any:
    """Run code in a control group, and return what it printed last."""
    if group is None:
        pytest.skip("this machine allows no control group; it takes root, and a kernel with one")
    ended = subprocess.run(
        [sys.executable, *flags, "-c", INSIDE + code, str(group)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        timeout=LIMIT_SECONDS,
        check=True,
    )
    return json.loads(ended.stdout.splitlines()[-1])


@pytest.mark.slow
def test_the_memory_of_a_real_group_limits_runs() -> None:
    with memory_group(LIMIT) as group:
        before, after, limit, source = run_inside(group, MEMORY)
    assert limit == LIMIT
    assert source.startswith("/sys/fs/cgroup/")
    # This process is in the group, with torch.
    assert 0 < before < LIMIT - 50 * MIB
    # What others of the group take is not left for runs.
    assert before - 220 * MIB < after < before - 180 * MIB


@pytest.mark.slow
def test_the_quota_of_a_real_group_limits_all_threads() -> None:
    with cpu_quota(0.8) as group:
        assert run_inside(group, THREADS) == [1, 1, 1]
