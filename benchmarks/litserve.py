"""``litserve``: a server against another serving framework.

Measures: callers of ``energy-flow serve`` by JSON over HTTP, without stored runs and traces. Unit:
milliseconds of a request, embeddings a second, and ratios. Baseline: the same processor behind
LitServe with its batching, with the same requests. Both servers run at the same time and serve in
turns. While one serves, the processes of the other are suspended, because LitServe's poll for work.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import tempfile
import time
from contextlib import AsyncExitStack, ExitStack
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.callers import (
    MAX_ROWS,
    Load,
    Served,
    percentile,
    serve_in_turns,
    staggered,
    summary,
    uniform,
)
from benchmarks.comparison import estimate
from benchmarks.contenders import plain_http
from benchmarks.options import Findings, Options
from benchmarks.server_process import RunningServer, energy_flow_server, running
from benchmarks.service import expected_surfaces
from benchmarks.standstill import resume, suspend
from benchmarks.tables import print_line, show
from benchmarks.workload import processor, shape

ROUNDS = 6
CALLERS = 64
STAGGERED_CALLERS = 16
STAGGERED_VISITS = 4
START_SECONDS = 120


def measure(options: Options) -> Findings:
    """Start both servers, and send the same requests to them in turns.

    Args:
        options: how to measure.

    Raises:
        RuntimeError: LitServe is not installed, or does not start.
    """
    if find_spec("litserve") is None:
        raise RuntimeError("LitServe is not installed; pip install -c constraints.txt litserve")
    model = processor("debug", options.device)
    expected = expected_surfaces(model)
    command = [sys.executable, "-m", "benchmarks.litserve_server", "--device", options.device]
    command += ["--threads", str(torch.get_num_threads())]
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="litserve-")))
        own = stack.enter_context(energy_flow_server(options.device))
        peer = stack.enter_context(running(command, folder / "server.log", own=False))
        _wait_until_healthy(peer.url)
        try:
            figures = asyncio.run(_measure(own, peer, expected, options))
        finally:
            resume(own.pid)
            resume(peer.pid)
    return Findings(shape(model.config) | {"rounds": options.rounds(ROUNDS)}, figures)


def _wait_until_healthy(url: str) -> None:
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until:
        try:
            if httpx.get(f"{url}/health").status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.2)
    raise RuntimeError(f"LitServe was not healthy after {START_SECONDS} s")


async def _measure(
    own: RunningServer, peer: RunningServer, expected: NDArray[np.float32], options: Options
) -> dict[str, Any]:
    rounds, rows = options.rounds(ROUNDS), len(expected)
    unstored: dict[str, Any] = {"store": False, "trace": {"inline": 0}}
    async with AsyncExitStack() as stack:
        calls = {
            "energy_flow": await stack.enter_async_context(
                plain_http(own.url, CALLERS, "/v1/simulate", unstored)
            ),
            "litserve": await stack.enter_async_context(
                plain_http(peer.url, CALLERS, "/predict", {})
            ),
        }

        def switch_to(name: str) -> None:
            idle, serving = (peer, own) if name == "energy_flow" else (own, peer)
            resume(serving.pid)
            suspend(idle.pid)

        async def compare(name: str, load: Load) -> dict[str, list[Served]]:
            print_line(f"litserve: {name}, {rounds} rounds")
            contenders = {server: (call, load) for server, call in calls.items()}
            return await serve_in_turns(contenders, expected, rounds, on_turn=switch_to)

        counts = range(1, MAX_ROWS + 1)
        at_once = await compare(
            f"{CALLERS} callers with one embedding", uniform(CALLERS, 1, rows, [1], seed=0)
        )
        uniform_load = await compare(
            f"{STAGGERED_CALLERS} callers with 1 to {MAX_ROWS}, uniform",
            uniform(STAGGERED_CALLERS, STAGGERED_VISITS // 2, rows, counts, seed=1),
        )
        pause = statistics.median(uniform_load["energy_flow"][-1].latencies)
        staggered_load = await compare(
            f"{STAGGERED_CALLERS} callers with 1 to {MAX_ROWS}, staggered",
            staggered(STAGGERED_CALLERS, STAGGERED_VISITS, rows, counts, 2, pause),
        )
    served = {
        f"{CALLERS} × 1 at once": at_once,
        f"{STAGGERED_CALLERS} × 1 to {MAX_ROWS} uniform": uniform_load,
        f"{STAGGERED_CALLERS} × 1 to {MAX_ROWS} staggered": staggered_load,
    }
    figures = {name: _figures(one) for name, one in served.items()}
    show(
        "Energy Flow / LitServe",
        ("load", "p50, ms", "p99, ms", "embeddings a second", "throughput", "p99", "wrong"),
        [
            (
                name,
                *(
                    f"{one['energy_flow'][key]:,.0f} / {one['litserve'][key]:,.0f}"
                    for key in ("p50_ms", "p99_ms", "samples_per_second")
                ),
                f"{one['throughput']['median']:.3f} [{one['throughput']['low']:.3f}, "
                f"{one['throughput']['high']:.3f}]",
                f"{one['p99']['median']:.3f} [{one['p99']['low']:.3f}, {one['p99']['high']:.3f}]",
                one["energy_flow"]["wrong"] + one["litserve"]["wrong"],
            )
            for name, one in figures.items()
        ],
        "throughput, p99: Energy Flow / LitServe, median over rounds with a 95 % interval.",
    )
    return {"mean_pause_ms": round(1e3 * pause, 1), "loads": figures}


def _figures(served: dict[str, list[Served]]) -> dict[str, Any]:
    pairs = list(zip(served["energy_flow"], served["litserve"], strict=True))
    return {name: summary(of) for name, of in served.items()} | {
        "throughput": estimate([theirs.seconds / ours.seconds for ours, theirs in pairs]).to_dict(),
        "p99": estimate(
            [
                percentile(ours.latencies, 99) / percentile(theirs.latencies, 99)
                for ours, theirs in pairs
            ]
        ).to_dict(),
    }
