"""A server's callers against calls in this process: a lone caller, a crowd, and loads between."""

from __future__ import annotations

import asyncio
import statistics
from contextlib import AsyncExitStack
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.callers import MOST_ROWS, Call, serve_in_turns, staggered, summary, uniform
from benchmarks.comparison import Times
from benchmarks.contenders import flow_clients, in_process
from benchmarks.options import Findings, Options
from benchmarks.server_process import energy_flow_server
from benchmarks.tables import say, show
from benchmarks.workload import all_embeddings, processor, shape
from energy_flow import FlowProcessor
from energy_flow.runtime.threads import run_in_temporary_thread

CROWD = 64
LONE_ROUNDS = 40
CROWD_ROUNDS = 20
LOAD_ROUNDS = 2
VISITS = {1: 12, 8: 4, 64: 1}
COUNTS = range(1, MOST_ROWS + 1)


def measure(options: Options) -> Findings:
    """Starts a server and lets callers come, in turns with calls in this process."""
    # The calls in this process have a thread of their own.
    model = run_in_temporary_thread(lambda: processor("debug", options.device))
    say("service: what the answers should be")
    expected = run_in_temporary_thread(lambda: expected_surfaces(model))
    with energy_flow_server(options.device) as server:
        figures = asyncio.run(_measured(model, expected, server.url, options))
    config = shape(model.config) | {"rows_a_request": [1, MOST_ROWS], "crowd": CROWD}
    return Findings(config, figures)


def expected_surfaces(model: FlowProcessor) -> NDArray[np.float32]:
    """Surfaces of all bundled embeddings, simulated quietly."""
    surfaces: NDArray[np.float32] = model.simulate(all_embeddings()).outputs["surface"]
    return surfaces


async def _measured(
    model: FlowProcessor, expected: NDArray[np.float32], url: str, options: Options
) -> dict[str, Any]:
    async with AsyncExitStack() as stack:
        calls = {
            "in_process": await stack.enter_async_context(in_process(model)),
            "service": await stack.enter_async_context(flow_clients(url, CROWD, store=False)),
            "service_stored": await stack.enter_async_context(flow_clients(url, CROWD, store=True)),
        }
        lone = await _lone(calls, expected, options)
        crowd = await _crowd(calls, expected, options)
        loads = await _loads(calls, expected, options)
    return {"lone_caller": lone, "crowd": crowd, "loads": loads}


async def _lone(
    calls: dict[str, Call], expected: NDArray[np.float32], options: Options
) -> dict[str, Any]:
    rounds = options.rounds(LONE_ROUNDS)
    say(f"service: a lone caller with one embedding, {rounds} rounds")
    load = uniform(1, 1, len(expected), [1], seed=0)
    served = await serve_in_turns(
        {name: (call, load) for name, call in calls.items()}, expected, rounds
    )
    told = {name: summary(list(of)) for name, of in served.items()}
    base = told["in_process"]["p50_ms"]
    for name in ("service", "service_stored"):
        told[name]["beyond_ms"] = round(told[name]["p50_ms"] - 1.1 * base, 2)
    show(
        "A lone caller with one embedding",
        ("through", "p50, ms", "p99, ms", "p50 beyond 1.1 × in-process, ms", "wrong"),
        [
            (name, one["p50_ms"], one["p99_ms"], one.get("beyond_ms"), one["wrong"])
            for name, one in told.items()
        ],
        "stored: the server keeps the run with its trace, as it does unless told otherwise",
    )
    return told


async def _crowd(
    calls: dict[str, Call], expected: NDArray[np.float32], options: Options
) -> dict[str, Any]:
    """64 callers with one embedding each, all at once, against one batch of the same 64."""
    rounds = options.rounds(CROWD_ROUNDS)
    say(f"service: {CROWD} callers with one embedding each, {rounds} rounds")
    rows = np.arange(CROWD)
    many = uniform(CROWD, 1, len(expected), [1], seed=1)

    async def batch(caller: int, _: NDArray[np.int64]) -> NDArray[np.float32]:
        await calls["in_process"](caller, rows)
        return expected[:1]

    one = uniform(1, 1, 1, [1], seed=1)
    served = await serve_in_turns(
        {
            "in_process": (batch, one),
            "service": (calls["service"], many),
            "service_stored": (calls["service_stored"], many),
        },
        expected,
        rounds,
    )
    times = Times({name: [turn.seconds for turn in of] for name, of in served.items()})
    ratios = {name: times.ratio("in_process", name) for name in ("service", "service_stored")}
    show(
        f"{CROWD} callers with one embedding each, against one batch of {CROWD} in this process",
        ("through", "embeddings a second", "of in-process", "wrong"),
        [
            (
                name,
                CROWD / times.median(name),
                ratios.get(name, "1"),
                sum(turn.wrong for turn in of),
            )
            for name, of in served.items()
        ],
    )
    return {
        "samples_per_second": {name: round(CROWD / times.median(name), 2) for name in served},
        "of_in_process": {name: ratio.to_dict() for name, ratio in ratios.items()},
        "wrong": sum(turn.wrong for of in served.values() for turn in of),
    }


async def _loads(
    calls: dict[str, Call], expected: NDArray[np.float32], options: Options
) -> list[dict[str, Any]]:
    rounds, rows = options.rounds(LOAD_ROUNDS), len(expected)
    told: list[dict[str, Any]] = []
    for callers, visits in VISITS.items():
        say(f"service: {callers} callers with 1 to {MOST_ROWS} embeddings each")
        load = uniform(callers, visits, rows, COUNTS, seed=callers)
        pause = 0.0
        for arrivals in ("uniform", "staggered"):
            served = await serve_in_turns(
                {name: (calls[name], load) for name in ("in_process", "service")},
                expected,
                rounds,
                warm_up=False,
            )
            told.append(
                {"callers": callers, "arrivals": arrivals, "mean_pause_ms": round(1e3 * pause, 1)}
                | {name: summary(list(of)) for name, of in served.items()}
            )
            # Pauses as long as a visit took: half as many callers wait at any time.
            pause = statistics.median(served["service"][0].latencies)
            load = staggered(callers, visits, rows, COUNTS, seed=callers, pause=pause)
    show(
        f"Callers with 1 to {MOST_ROWS} embeddings each: in this process one after the other / "
        "through the server",
        ("callers, arrivals", "requests", "p50, ms", "p99, ms", "embeddings a second", "wrong"),
        [
            (
                f"{one['callers']} {one['arrivals']}",
                one["service"]["requests"],
                *(
                    f"{one['in_process'][key]:,.0f} / {one['service'][key]:,.0f}"
                    for key in ("p50_ms", "p99_ms", "samples_per_second")
                ),
                one["in_process"]["wrong"] + one["service"]["wrong"],
            )
            for one in told
        ],
        "staggered: every caller pauses before each request, on average as long as one took",
    )
    return told
