"""``service``: the cost of a server.

Measures: one caller, 64 callers at once, and loads in between, which call a server by the client.
Unit: milliseconds of a request, embeddings a second, and ratios. Baseline: the same calls, or one
batch, in this process.
"""

from __future__ import annotations

import asyncio
import statistics
from contextlib import AsyncExitStack
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.callers import MAX_ROWS, Call, serve_in_turns, staggered, summary, uniform
from benchmarks.comparison import Times
from benchmarks.contenders import flow_clients, in_process
from benchmarks.options import Findings, Options
from benchmarks.server_process import energy_flow_server
from benchmarks.tables import print_line, show
from benchmarks.workload import all_embeddings, processor, shape
from energy_flow import FlowProcessor
from energy_flow.runtime.threads import run_in_temporary_thread

CROWD = 64
LONE_ROUNDS = 40
CROWD_ROUNDS = 20
LOAD_ROUNDS = 2
VISITS = {1: 12, 8: 4, 64: 1}
COUNTS = range(1, MAX_ROWS + 1)


def measure(options: Options) -> Findings:
    """Start a server, and send requests to it in turns with calls in this process.

    Args:
        options: how to measure.
    """
    # The calls in this process are made on a thread of their own.
    model = run_in_temporary_thread(lambda: processor("debug", options.device))
    print_line("service: computing the expected answers")
    expected = run_in_temporary_thread(lambda: expected_surfaces(model))
    with energy_flow_server(options.device) as server:
        figures = asyncio.run(_measure(model, expected, server.url, options))
    config = shape(model.config) | {"rows_a_request": [1, MAX_ROWS], "crowd": CROWD}
    return Findings(config, figures)


def expected_surfaces(model: FlowProcessor) -> NDArray[np.float32]:
    """Return the surfaces of all bundled embeddings, simulated without other load.

    Args:
        model: the model.
    """
    surfaces: NDArray[np.float32] = model.simulate(all_embeddings()).outputs["surface"]
    return surfaces


async def _measure(
    model: FlowProcessor, expected: NDArray[np.float32], url: str, options: Options
) -> dict[str, Any]:
    async with AsyncExitStack() as stack:
        calls = {
            "in_process": await stack.enter_async_context(in_process(model)),
            "service": await stack.enter_async_context(flow_clients(url, CROWD, store=False)),
            "service_stored": await stack.enter_async_context(flow_clients(url, CROWD, store=True)),
        }
        lone = await _one_caller(calls, expected, options)
        crowd = await _many_callers(calls, expected, options)
        loads = await _loads(calls, expected, options)
    return {"lone_caller": lone, "crowd": crowd, "loads": loads}


async def _one_caller(
    calls: dict[str, Call], expected: NDArray[np.float32], options: Options
) -> dict[str, Any]:
    rounds = options.rounds(LONE_ROUNDS)
    print_line(f"service: one caller with one embedding, {rounds} rounds")
    load = uniform(1, 1, len(expected), [1], seed=0)
    served = await serve_in_turns(
        {name: (call, load) for name, call in calls.items()}, expected, rounds
    )
    figures = {name: summary(list(of)) for name, of in served.items()}
    base = figures["in_process"]["p50_ms"]
    for name in ("service", "service_stored"):
        figures[name]["beyond_ms"] = round(figures[name]["p50_ms"] - 1.1 * base, 2)
    show(
        "One caller with one embedding",
        ("through", "p50, ms", "p99, ms", "p50 above 1.1 × in-process, ms", "wrong"),
        [
            (name, one["p50_ms"], one["p99_ms"], one.get("beyond_ms"), one["wrong"])
            for name, one in figures.items()
        ],
        "stored: the server stores the run with its trace, which is the default.",
    )
    return figures


async def _many_callers(
    calls: dict[str, Call], expected: NDArray[np.float32], options: Options
) -> dict[str, Any]:
    """Measure 64 callers with one embedding each against one batch of the same 64."""
    rounds = options.rounds(CROWD_ROUNDS)
    print_line(f"service: {CROWD} callers with one embedding each, {rounds} rounds")
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
        ("through", "embeddings a second", "/ in-process", "wrong"),
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
    figures: list[dict[str, Any]] = []
    for callers, visits in VISITS.items():
        print_line(f"service: {callers} callers with 1 to {MAX_ROWS} embeddings each")
        load = uniform(callers, visits, rows, COUNTS, seed=callers)
        pause = 0.0
        for arrivals in ("uniform", "staggered"):
            served = await serve_in_turns(
                {name: (calls[name], load) for name in ("in_process", "service")},
                expected,
                rounds,
                warm_up=False,
            )
            figures.append(
                {"callers": callers, "arrivals": arrivals, "mean_pause_ms": round(1e3 * pause, 1)}
                | {name: summary(list(of)) for name, of in served.items()}
            )
            # With pauses as long as a request, half as many callers wait at any time.
            pause = statistics.median(served["service"][0].latencies)
            load = staggered(callers, visits, rows, COUNTS, seed=callers, pause=pause)
    show(
        f"Callers with 1 to {MAX_ROWS} embeddings each: calls in this process, one after the "
        "other / requests to the server",
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
            for one in figures
        ],
        "staggered: every caller pauses before each request, for about the time of a request.",
    )
    return figures
