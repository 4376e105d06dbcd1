"""``contended``: the speed of a simulation beside other processes, and in a quota.

Measures: ``FlowProcessor.simulate`` on two cores, alone, beside one and beside two busy processes,
without a quota and in a control group with a quota of one core. Unit: seconds. Contenders: threads
that spin while they wait, as the OpenMP runtime lets them (unbounded); threads that sleep
(``OMP_WAIT_POLICY=passive``); and the way of Energy Flow's programs (ours).
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from benchmarks.comparison import Times
from benchmarks.control_group import cpu_quota
from benchmarks.options import Findings, Options
from benchmarks.tables import print_line, show
from benchmarks.workload import ROOT, config, shape

CORES = 2
SAMPLES = 16
ROUNDS = 10
BUSY = {"alone": 0, "beside one": 1, "beside two": 2}
"""Number of busy processes by situation."""
WAITING: dict[str, dict[str, str]] = {
    "unbounded": {},
    "passive": {"OMP_WAIT_POLICY": "passive"},
    "ours": {},
}
"""Environment by contender."""
POLICIES = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")
QUOTA_CORES = 1.0
PASSIVE_GOAL = 0.85
"""Least speed of ours beside busy processes, as a share of that of passive."""
UNBOUNDED_GOAL = 0.95
"""Least speed of ours alone, as a share of that of unbounded."""


def measure(options: Options) -> Findings:
    """Measure all contenders in turns, in every situation.

    Args:
        options: how to measure; the device is always the CPU.
    """
    cores = sorted(os.sched_getaffinity(0))[:CORES]
    rounds = options.rounds(ROUNDS)
    figures: dict[str, Any] = {"no quota": _measured(cores, None, rounds)}
    with cpu_quota(QUOTA_CORES) as group:
        if group is None:
            print_line("contended: no control group can be made here, so no quota is measured")
        else:
            figures["quota of one core"] = _measured(cores, group, rounds)
    show(
        f"Seconds to simulate {SAMPLES} samples on {len(cores)} cores",
        ("situation", *WAITING, "speed ours / passive", "speed ours / unbounded", "goal reached"),
        [
            (
                f"{place}, {situation}",
                *(one["seconds"][name] for name in WAITING),
                _text(one["of_passive"]),
                _text(one["of_unbounded"]),
                one["goal_reached"],
            )
            for place, situations in figures.items()
            for situation, one in situations.items()
        ],
        "Median seconds. Speeds: the median over rounds with a 95 % interval. The goals: beside "
        f"others, ours has {PASSIVE_GOAL:.2f} of the speed of passive; alone, {UNBOUNDED_GOAL:.2f} "
        "of that of unbounded.",
    )
    settings = {"cores": cores, "samples": SAMPLES, "rounds": rounds, "quota_cores": QUOTA_CORES}
    return Findings(shape(config("debug")) | settings, figures)


def _measured(cores: Sequence[int], group: Path | None, rounds: int) -> dict[str, Any]:
    place = "no quota" if group is None else f"a quota of {QUOTA_CORES:g} core"
    seconds: dict[str, dict[str, list[float]]] = {
        situation: {name: [] for name in WAITING} for situation in BUSY
    }
    with ExitStack() as stack:
        contenders = {name: stack.enter_context(_contender(name, cores, group)) for name in WAITING}
        for number in range(rounds):
            print_line(f"contended: {place}, round {number + 1} of {rounds}")
            for situation, busy in BUSY.items():
                with _busy_processes(busy, cores):
                    for name, process in contenders.items():
                        seconds[situation][name].append(_time(process))
    measured = {}
    for situation, values in seconds.items():
        times = Times(values)
        # The ratio of two speeds is that of the times, the other way round.
        of_passive, of_unbounded = times.ratio("passive", "ours"), times.ratio("unbounded", "ours")
        is_alone = situation == "alone"
        measured[situation] = {
            "seconds": {name: times.median(name) for name in WAITING},
            "of_passive": of_passive.to_dict(),
            "of_unbounded": of_unbounded.to_dict(),
            "goal_reached": of_unbounded.median >= UNBOUNDED_GOAL
            if is_alone
            else of_passive.median >= PASSIVE_GOAL,
        }
    return measured


@contextmanager
def _contender(
    name: str, cores: Sequence[int], group: Path | None
) -> Iterator[subprocess.Popen[str]]:
    """Start a process that simulates; otherwise it waits for its input."""
    environment = {key: value for key, value in os.environ.items() if key not in POLICIES}
    with subprocess.Popen(
        [
            *(sys.executable, "-m", "benchmarks.contended_child", name),
            *(",".join(map(str, cores)), str(group or "")),
        ],
        cwd=ROOT,
        env=environment | WAITING[name],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            _read_line(process)
            yield process
        finally:
            process.kill()


@contextmanager
def _busy_processes(count: int, cores: Sequence[int]) -> Iterator[None]:
    """Keep the cores busy until the end of the block."""
    code = f"import os; os.sched_setaffinity(0, {set(cores)}); print(flush=True)\nwhile True: pass"
    with ExitStack() as stack:
        for _ in range(count):
            process = stack.enter_context(
                subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
            )
            stack.callback(process.kill)
            _read_line(process)
        yield


def _time(process: subprocess.Popen[str]) -> float:
    assert process.stdin is not None
    process.stdin.write(f"{SAMPLES}\n")
    process.stdin.flush()
    return float(_read_line(process))


def _read_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise RuntimeError("a process of the benchmark failed; see above")
    return line


def _text(ratio: dict[str, Any]) -> str:
    return f"{ratio['median']:.2f} [{ratio['low']:.2f}, {ratio['high']:.2f}]"
