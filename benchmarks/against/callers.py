"""``callers``: requests of one caller, and of 64 callers at once.

Measures: POST ``/v1/simulate`` with one embedding. Unit: milliseconds of a request of one caller,
requests a second of 64. Baseline: the other version.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx
import orjson

from benchmarks.against.comparison import Comparison, show_comparisons
from benchmarks.against.server import StartedServer, serving, started_servers
from benchmarks.against.turns import order_of
from benchmarks.against.version import Version
from benchmarks.options import Findings, Options
from benchmarks.tables import print_line
from benchmarks.workload import all_embeddings

ROUNDS = 6
LONE_CALLS = 20
CROWD = 64
TIMEOUT_SECONDS = 300

LONE = "a lone caller, p50"
LONE_UNKEPT = "a lone caller, p50, run not kept"
AT_ONCE = f"{CROWD} callers at once"


def measure(versions: Mapping[str, Version], options: Options) -> Findings:
    """Send requests to servers of both versions, new servers in every round.

    Args:
        versions: this version and the other, by name.
        options: how to measure.
    """
    rounds = options.rounds(ROUNDS)
    dimension = all_embeddings().shape[1]
    found: dict[str, dict[str, list[float]]] = {
        what: {name: [] for name in versions} for what in (LONE, LONE_UNKEPT, AT_ONCE)
    }
    with TemporaryDirectory(prefix="energy-flow-bench-") as folder:
        for turn in range(rounds):
            print_line(f"callers: round {turn + 1} of {rounds}")
            with started_servers(
                versions, Path(folder), options.device, turn, f"embedding_dim={dimension}"
            ) as servers:
                for what, of in asyncio.run(_round(servers, turn)).items():
                    for name, value in of.items():
                        found[what][name].append(value)
    comparisons = {
        what: Comparison("requests/s" if what is AT_ONCE else "ms", of, what is AT_ONCE)
        for what, of in found.items()
    }
    show_comparisons("Callers of POST /v1/simulate with one embedding, debug preset", comparisons)
    config = {"rounds": rounds, "preset": "debug", "lone_calls": 2 * LONE_CALLS, "crowd": CROWD}
    return Findings(config, {what: one.to_dict() for what, one in comparisons.items()})


async def _round(servers: Mapping[str, StartedServer], turn: int) -> dict[str, dict[str, float]]:
    """Measure in the order A B B A; the two measurements of a version make one value."""
    for name in order_of(turn):
        with serving(servers[name]) as server:
            await _latencies(server.url, 1, 2, kept=False)
            await _latencies(server.url, CROWD, 1, kept=True)
    turns = (*order_of(turn), *order_of(turn + 1))
    found: dict[str, dict[str, float]] = {}
    for what, kept in ((LONE, True), (LONE_UNKEPT, False)):
        latencies: dict[str, list[float]] = {name: [] for name in servers}
        for name in turns:
            with serving(servers[name]) as server:
                latencies[name] += (await _latencies(server.url, 1, LONE_CALLS, kept=kept))[0]
        found[what] = {name: 1e3 * statistics.median(of) for name, of in latencies.items()}
    seconds = dict.fromkeys(servers, 0.0)
    for name in turns:
        with serving(servers[name]) as server:
            seconds[name] += (await _latencies(server.url, CROWD, 1, kept=True))[1]
    found[AT_ONCE] = {name: 2 * CROWD / of for name, of in seconds.items()}
    return found


async def _latencies(
    url: str, callers: int, calls: int, *, kept: bool
) -> tuple[list[float], float]:
    """Let all callers start together, each with an open connection of its own.

    Returns:
        Seconds of every request, and from the first request to the last answer.
    """
    latencies: list[float] = []
    rows = all_embeddings()

    async def call(client: httpx.AsyncClient, first: int) -> None:
        for number in range(calls):
            row = (first + number * callers) % len(rows)
            body = {
                "embeddings": rows[row : row + 1],
                "sample_keys": [row],
                "trace": {"inline": 0},
                "store": kept,
            }
            content = orjson.dumps(body, option=orjson.OPT_SERIALIZE_NUMPY)
            began = time.perf_counter()
            answer = await client.post("/v1/simulate", content=content)
            latencies.append(time.perf_counter() - began)
            answer.raise_for_status()

    async with AsyncExitStack() as stack:
        headers = {"accept-encoding": "identity", "content-type": "application/json"}
        clients = [
            await stack.enter_async_context(
                # Verification would load the certificates of the system for each client.
                httpx.AsyncClient(
                    base_url=url, timeout=TIMEOUT_SECONDS, verify=False, headers=headers
                )
            )
            for _ in range(callers)
        ]
        await asyncio.gather(*(client.get("/livez") for client in clients))
        began = time.perf_counter()
        await asyncio.gather(*(call(client, first) for first, client in enumerate(clients)))
        return latencies, time.perf_counter() - began
