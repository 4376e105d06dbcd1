"""How threads wait: they sleep while others use the cores, and spin again afterwards."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

import pytest

from energy_flow.runtime.waiting import CoreUse
from tests.support.repository import ROOT
from tests.support.waits import LIMIT_SECONDS

POLICIES = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME", "KMP_LIBRARY")

CONTROL = """
import json
import torch
from energy_flow.runtime.waiting import CoreUse, WaitControl, find_runtime

def use(at, waited, computed=None, throttled=0.0, running=1):
    computed = at if computed is None else computed
    return CoreUse(at, computed, 0, {"1": waited, "2": 0.0}, throttled, running)
"""

DECISIONS = (
    CONTROL
    + """
control = WaitControl(find_runtime())
seen = []

def decide(now, before):
    computes = control.decide(now, before)
    seen.append([computes, control.are_threads_sleeping])

decide(use(1.0, 0.01), use(0.0, 0.0))               # the cores are free
decide(use(2.0, 0.50), use(1.0, 0.01))              # others use them
decide(use(3.0, 0.50, computed=2.0), use(2.0, 0.5)) # idle: nothing is known
for second in range(20):                            # free again
    decide(use(4.0 + second, 0.50), use(3.0 + second, 0.50))
decide(use(30.0, 0.50, throttled=0.5), use(29.0, 0.50))  # a quota is used up
for second in range(20):                            # idle, and nobody else computes
    decide(use(40.0, 0.0, computed=1.0, running=0), use(39.0, 0.0, computed=1.0))
decide(use(60.0, 0.0, 1.0, running=10**6), use(59.0, 0.0, 1.0)) # idle, and others use all cores
print(json.dumps(seen))
"""
)

THREADS = """
import json, os
import numpy, torch
from energy_flow.runtime.waiting import _IdleTeam, find_runtime
from tests.support.waits import until

def simulate():
    from energy_flow import FlowProcessor, presets
    processor = FlowProcessor(presets.debug().replace({"embedding_dim": 8}))
    return processor.simulate(numpy.ones((2, 8), numpy.float32)).outputs["surface"].tobytes()

def tasks():
    return len(os.listdir("/proc/self/task"))

before = simulate()
alone = tasks()
team = _IdleTeam(find_runtime())
during = simulate()
with_team = tasks()
team.end()
# Threads of the team end after the one that started it.
until(lambda: tasks() <= alone)
print(json.dumps([before == during, with_team > alone]))
"""

WATCHED = """
import json, subprocess, sys, time
import torch
from energy_flow.runtime.waiting import WaitControl, find_runtime

control = WaitControl(find_runtime())
control.start()
end = time.monotonic() + float(sys.argv[1])
a = torch.rand(600, 600)
busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(4)]
try:
    while not control.are_threads_sleeping and time.monotonic() < end:
        a @ a
finally:
    for process in busy:
        process.kill()
        process.wait()
slept = control.are_threads_sleeping
control.stop()
print(json.dumps([slept, control.are_threads_sleeping]))
"""

PROGRAM = """
import json, threading
from energy_flow.runtime.process import configure_process
configure_process()
configure_process()
names = [thread.name for thread in threading.enumerate()]
print(json.dumps(names.count("energy-flow-wait-control")))
"""

is_controlled = pytest.mark.skipif(
    sys.platform != "linux", reason="only the runtime of GCC, under Linux, can be controlled"
)


def run(code: str, *arguments: str, environment: Mapping[str, str] | None = None) -> Any:
    """Run code in a process without a policy, and return what it printed last."""
    kept = {name: value for name, value in os.environ.items() if name not in POLICIES}
    ended = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, *arguments],
        cwd=ROOT,
        env=kept | dict(environment or {}),
        stdout=subprocess.PIPE,
        text=True,
        timeout=LIMIT_SECONDS,
        check=True,
    )
    return json.loads(ended.stdout.splitlines()[-1])


def test_shares_count_threads_that_live_at_both_ends() -> None:
    before = CoreUse(10.0, 4.0, 3, {"1": 1.0, "gone": 50.0}, 0.5, 0)
    now = CoreUse(12.0, 5.0, 9, {"1": 1.5, "new": 70.0}, 0.75, 0)
    assert now.computed_share(before) == 0.5
    assert now.waited_share(before) == 0.375


@is_controlled
@pytest.mark.slow
def test_threads_sleep_while_they_wait_for_cores() -> None:
    seen = run(DECISIONS)
    assert seen[0] == [True, False]
    assert seen[1] == [True, True]
    assert seen[2] == [False, True]
    assert seen[3] == [True, True]
    assert seen[22] == [True, False]
    assert seen[23] == [True, True]
    assert seen[-2] == [False, False]
    assert seen[-1] == [False, True]


@is_controlled
@pytest.mark.slow
def test_the_idle_team_changes_no_result_and_ends() -> None:
    assert run(THREADS) == [True, True]


@is_controlled
@pytest.mark.slow
def test_busy_processes_are_noticed() -> None:
    assert run(WATCHED, str(LIMIT_SECONDS / 2)) == [True, False]


@is_controlled
@pytest.mark.slow
@pytest.mark.parametrize(
    ("environment", "threads"),
    [
        ({}, 1),
        ({"OMP_WAIT_POLICY": "passive"}, 0),
        ({"OMP_WAIT_POLICY": "active"}, 0),
        ({"GOMP_SPINCOUNT": "1000"}, 0),
    ],
    ids=["none", "passive", "active", "count"],
)
def test_a_policy_of_the_user_is_kept(environment: dict[str, str], threads: int) -> None:
    assert run(PROGRAM, environment=environment) == threads


@pytest.mark.slow
def test_a_library_changes_no_environment_and_starts_no_thread() -> None:
    code = """
import json, os, threading
before = dict(os.environ)
import energy_flow, energy_flow.engine, energy_flow.runtime.process, numpy
from energy_flow import FlowProcessor, presets
processor = FlowProcessor(presets.debug().replace({"embedding_dim": 8}))
processor.simulate(numpy.ones((2, 8), numpy.float32))
changed = {name for name in {*before, *os.environ} if before.get(name) != os.environ.get(name)}
print(json.dumps([sorted(changed), threading.active_count()]))
"""
    assert run(code) == [[], 1]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("environment", "expected"),
    [({}, "1"), ({"KMP_BLOCKTIME": "7"}, "7"), ({"OMP_WAIT_POLICY": "active"}, None)],
    ids=["none", "time", "policy"],
)
def test_programs_bound_the_spinning_of_other_runtimes(
    environment: dict[str, str], expected: str | None
) -> None:
    code = """
import json, os, sys
from service.cli import main
try:
    main(["version"])
except SystemExit:
    pass
assert "torch" not in sys.modules
print(json.dumps(os.environ.get("KMP_BLOCKTIME")))
"""
    assert run(code, environment=environment) == expected
