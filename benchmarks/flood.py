"""``flood``: eight steady clients of a server alone, and beside hundreds of others.

The others are 500 clients with requests of mixed sizes, 50 of whom disconnect again and again, and
200 that never read. Measures: flow-steps a second of the steady clients, beside nothing and beside
the others; seconds of ``/livez`` and of a list; what is lost; memory and descriptors afterwards.
Unit: flow-steps a second, their ratio, seconds. Baseline: the steady clients alone. All clients are
in this process, on one core in both measurements, and the server has the others, because hundreds
of clients would otherwise take a core from it. Those of a kind have an address of their own, and
each steady client has one.
"""

from __future__ import annotations

import asyncio
import gc
import io
import os
import re
import resource
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from benchmarks.callers import percentile
from benchmarks.flood_clients import (
    Connection,
    Tally,
    Work,
    call_again_and_again,
    disconnect_again_and_again,
    never_read,
)
from benchmarks.options import Findings, Options
from benchmarks.resident import resident_bytes
from benchmarks.server_process import RunningServer, server_of
from benchmarks.tables import print_line, show
from benchmarks.workload import all_embeddings, processor, shape
from energy_flow.runtime.malloc import TRIM_AGAIN_SECONDS
from energy_flow.runtime.threads import run_in_temporary_thread

MODEL = {
    "lattice_width": 8,
    "lattice_height": 8,
    "lattice_depth": 8,
    "carrier_hidden_size": 32,
    "carrier_num_layers": 1,
    "neuron_hidden_dim": 32,
    "neuron_output_dim": 32,
    "mapper_hidden_dim": 32,
}
"""A small model, so that clients send many requests in little time."""

STEADY = 8
STEADY_ROWS = (16,)
CALLERS = 450
LEAVERS = 50
READERS = 200
MIXED_ROWS = (1, 1, 1, 2, 4, 8, 16, 32)
WARM_UP_SECONDS = 5.0
SECONDS = 20.0
RAMP_SECONDS = 10.0
LARGE_COPIES = 20
"""Copies of the rows in the dataset that readers ask for; it has 8 MiB."""
IDLE_WITHIN_SECONDS = 120.0
_IDLE = tuple(
    re.compile(rf"^energy_flow_{name}(\{{.*\}})? 0\.0$", re.MULTILINE)
    for name in ("active_runs", "queued_runs")
)
GOALS = {"steady_ratio": 0.8, "livez_p99_seconds": 0.5}


def measure(options: Options) -> Findings:
    """Measure steady clients of a server alone, and beside others.

    Args:
        options: how to measure.
    """
    model = run_in_temporary_thread(lambda: processor("debug", options.device, MODEL))
    print_line("flood: computing the expected answers")
    rows = all_embeddings()
    surfaces = run_in_temporary_thread(lambda: model.simulate(rows).outputs["surface"])
    seconds = SECONDS * options.rounds(1)
    assignments = [f"{name}={value}" for name, value in MODEL.items()]
    cores = os.sched_getaffinity(0)
    own = {max(cores)}
    with (
        tempfile.TemporaryDirectory(prefix="energy-flow-bench-") as folder,
        _on_cores(cores - own or own),
        server_of(Path(folder), options.device, *assignments) as server,
        _on_cores(own),
        _many_descriptors(),
    ):
        figures = asyncio.run(_measure(server, Work(rows, surfaces), seconds))
    _show(figures)
    config = shape(model.config) | {
        "steady": STEADY,
        "steady_rows": STEADY_ROWS,
        "callers": CALLERS,
        "leavers": LEAVERS,
        "readers": READERS,
        "rows": MIXED_ROWS,
        "seconds": seconds,
        "goals": GOALS,
    }
    return Findings(config, figures)


async def _measure(server: RunningServer, work: Work, seconds: float) -> dict[str, Any]:
    url = server.url
    steady, flood = Tally(), Tally()
    path = await _store_large_dataset(url, work)
    async with _running(_steady(url, work, steady)):
        await asyncio.sleep(WARM_UP_SECONDS)
        print_line(f"flood: {STEADY} steady clients alone, {seconds:.0f} s")
        alone = await _observe(server, steady, seconds)
    before = await _at_rest(server)
    async with (
        _running(_steady(url, work, steady)),
        _running(_flood(url, work, flood, path)),
    ):
        print_line(
            f"flood: beside {CALLERS + LEAVERS} other clients and {READERS} readers, "
            f"{2 * seconds:.0f} s"
        )
        await asyncio.sleep(RAMP_SECONDS)
        beside = await _observe(server, steady, 2 * seconds)
    after = await _at_rest(server)
    lost = await _count_lost(url, [*steady.stored, *flood.stored])
    rates = alone["flow_steps_per_second"], beside["flow_steps_per_second"]
    return {
        "alone": alone,
        "beside": beside,
        "steady_ratio": round(rates[1] / rates[0], 3),
        "livez_p99_seconds": beside["livez_p99_seconds"],
        "steady_outcomes": dict(steady.outcomes),
        "flood_outcomes": dict(flood.outcomes),
        "wrong": steady.outcomes["wrong"] + flood.outcomes["wrong"],
        "lost": steady.outcomes["lost"] + flood.outcomes["lost"],
        "stored": len(steady.stored) + len(flood.stored),
        "stored_lost": lost,
        "before": before,
        "after": after,
    }


def _steady(url: str, work: Work, tally: Tally) -> list[Coroutine[Any, Any, None]]:
    return [
        call_again_and_again(
            Connection(url, f"127.0.1.{number + 1}"), work, STEADY_ROWS, tally, seed=number
        )
        for number in range(STEADY)
    ]


def _flood(url: str, work: Work, tally: Tally, path: str) -> list[Coroutine[Any, Any, None]]:
    callers = [
        call_again_and_again(Connection(url, "127.0.0.2"), work, MIXED_ROWS, tally, seed=number)
        for number in range(1000, 1000 + CALLERS)
    ]
    leavers = [
        disconnect_again_and_again(Connection(url, "127.0.0.2"), work, MIXED_ROWS, seed=number)
        for number in range(2000, 2000 + LEAVERS)
    ]
    return [*callers, *leavers, *(never_read(url, "127.0.0.3", path) for _ in range(READERS))]


@asynccontextmanager
async def _running(clients: list[Coroutine[Any, Any, None]]) -> AsyncIterator[None]:
    """Let clients work until the end of the block."""
    tasks = [asyncio.create_task(client) for client in clients]
    try:
        yield
        failed = [task for task in tasks if task.done()]
        if failed:
            raise RuntimeError(f"{len(failed)} clients have ended") from failed[0].exception()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _observe(server: RunningServer, steady: Tally, seconds: float) -> dict[str, Any]:
    """Return rates and latencies of some seconds."""
    first, flow_steps, began = len(steady.latencies), steady.flow_steps, time.perf_counter()
    command = [sys.executable, "-m", "benchmarks.flood_probe", server.url, str(seconds)]
    probe = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    lines, _ = await probe.communicate()
    if probe.returncode != 0:
        raise RuntimeError("a probe was not answered")
    took = time.perf_counter() - began
    livez, lists = (float(word) for word in lines.split())
    latencies = steady.latencies[first:]
    return {
        "flow_steps_per_second": round((steady.flow_steps - flow_steps) / took, 1),
        "requests": len(latencies),
        "p50_ms": round(1e3 * percentile(latencies, 50), 1),
        "p99_ms": round(1e3 * percentile(latencies, 99), 1),
        "livez_p99_seconds": round(livez, 4),
        "list_p99_seconds": round(lists, 4),
    }


async def _at_rest(server: RunningServer) -> dict[str, int]:
    """Wait until the server has nothing to do, and return its memory and descriptors."""
    connection = Connection(server.url, "127.0.0.1")
    until = time.monotonic() + IDLE_WITHIN_SECONDS
    process = psutil.Process(server.pid)
    while time.monotonic() < until:
        answer = await connection.request("GET", "/metrics")
        text = answer.body.decode()
        if all(ends.search(text) for ends in _IDLE) and "energy_flow_connections 1.0" in text:
            break
        await asyncio.sleep(0.2)
    else:
        raise RuntimeError(f"the server was not idle after {IDLE_WITHIN_SECONDS:.0f} s")
    await asyncio.sleep(TRIM_AGAIN_SECONDS + 1)
    connection.close()
    return {
        "resident_bytes": resident_bytes(server.pid),
        "descriptors": process.num_fds(),
        "threads": process.num_threads(),
    }


async def _store_large_dataset(url: str, work: Work) -> str:
    """Store a dataset, and return the path of its file."""
    file = io.BytesIO()
    np.save(file, np.tile(work.rows, (LARGE_COPIES, 1)))
    connection = Connection(url, "127.0.0.1")
    answer = await connection.request("PUT", "/v1/datasets/large", file.getvalue())
    connection.close()
    if answer.status != 201:
        raise RuntimeError(f"the dataset was not stored: {answer.body!r}")
    return "/v1/datasets/large"


async def _count_lost(url: str, run_ids: list[str]) -> int:
    """Return how many of some stored runs are not there."""
    connection = Connection(url, "127.0.0.1")
    found = [(await connection.request("GET", f"/v1/runs/{run_id}")).body for run_id in run_ids]
    connection.close()
    return sum(b'"state":"succeeded"' not in body for body in found)


@contextmanager
def _on_cores(cores: set[int]) -> Iterator[None]:
    """Let this process, and those that it starts, use some cores only."""
    former = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, former)


@contextmanager
def _many_descriptors() -> Iterator[None]:
    """Let this process use as many descriptors as it may, and collect less garbage."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def _show(figures: dict[str, Any]) -> None:
    columns = (
        "flow_steps_per_second",
        "requests",
        "p50_ms",
        "p99_ms",
        "livez_p99_seconds",
        "list_p99_seconds",
    )
    show(
        f"{STEADY} steady clients",
        (
            "beside",
            "flow-steps a second",
            "requests",
            "p50, ms",
            "p99, ms",
            "/livez p99, s",
            "list",
        ),
        [
            (name, *(figures[key][column] for column in columns))
            for name, key in (("nothing", "alone"), ("the others", "beside"))
        ],
        f"ratio {figures['steady_ratio']}, goal {GOALS['steady_ratio']}; goal of /livez "
        f"{GOALS['livez_p99_seconds']} s; wrong {figures['wrong']}, lost {figures['lost']}, of "
        f"{figures['stored']} stored runs lost {figures['stored_lost']}",
    )
    show(
        "The server at rest",
        ("when", "resident MiB", "descriptors", "threads"),
        [
            (name, one["resident_bytes"] // 2**20, one["descriptors"], one["threads"])
            for name in ("before", "after")
            for one in (figures[name],)
        ],
        f"others: {figures['flood_outcomes']}",
    )
