"""Many runs through a server, most of them disturbed; a part of ``soak``.

A caller that disconnects closes its connection before the answer. One that cancels has submitted
its run before. One that is late has set ``timeout_ms``.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

from benchmarks.resident import resident_bytes
from benchmarks.server_process import RunningServer, energy_flow_server
from benchmarks.soak_runs import (
    AT_ONCE,
    EMPTY_WITHIN_SECONDS,
    LOST_AFTER_SECONDS,
    MODEL,
    OUTPUTS,
    WAVES,
    Fate,
    Planned,
    figures,
    has_expected_outputs,
    has_expected_records,
    plan_runs,
    small_processor,
    waves,
)
from energy_flow.client import AsyncFlowClient, Conflict, DeadlinePassed
from energy_flow.runtime.malloc import TRIM_AFTER_SECONDS

RESTS_AFTER = (WAVES // 3, WAVES)
"""Waves after which the server is idle for long enough to return freed memory to the system."""
HELD = ("queued_runs", "active_runs", "active_flows")


def soak_server(runs: int, device: str) -> dict[str, Any]:
    """Start a server, send runs to it, and return their outcomes as plain JSON data.

    Args:
        runs: number of runs.
        device: device of the server.
    """
    plans = plan_runs(small_processor(device), runs, seed=2)
    assignments = [f"{name}={value}" for name, value in MODEL.items()]
    with energy_flow_server(device, *assignments) as server:
        return asyncio.run(_soak(server, plans))


async def _soak(server: RunningServer, plans: Sequence[Planned]) -> dict[str, Any]:
    outcomes: Counter[str] = Counter()
    memory: list[int] = []
    rested: list[int] = []
    left_over = 0
    began = time.perf_counter()
    async with AsyncFlowClient(server.url) as client:
        await client.wait_until_ready(LOST_AFTER_SECONDS)
        for wave in waves(plans):
            turn = asyncio.Semaphore(AT_ONCE)
            outcomes += Counter(
                await asyncio.gather(*(_outcome(client, plan, turn) for plan in wave))
            )
            left_over += await _left_over(client)
            memory.append(resident_bytes(server.pid))
            if len(memory) in RESTS_AFTER:
                await asyncio.sleep(TRIM_AFTER_SECONDS + 1)
                rested.append(resident_bytes(server.pid))
        seconds = time.perf_counter() - began
        unfinished = [run.run_id async for run in client.runs() if not run.ended]
    outcomes["lost"] += len(unfinished)
    return {
        **figures(plans, outcomes, left_over, memory, seconds),
        "resident_bytes_at_rest": rested,
    }


async def _outcome(client: AsyncFlowClient, plan: Planned, turn: asyncio.Semaphore) -> str:
    """Return ``finished``, ``ended_early``, ``lost`` or ``wrong``."""
    async with turn:
        try:
            async with asyncio.timeout(LOST_AFTER_SECONDS):
                if plan.fate is Fate.CANCELLED:
                    return await _cancel(client, plan)
                if plan.fate is Fate.DISCONNECTED:
                    return await _disconnect(client, plan)
                return await _simulate(client, plan)
        except TimeoutError:
            return "lost"


async def _simulate(client: AsyncFlowClient, plan: Planned) -> str:
    late = plan.fate is Fate.LATE
    kind = plan.kind
    try:
        answer = await client.simulate(
            kind.rows,
            options=kind.options,
            seed=kind.seed,
            outputs=OUTPUTS,
            trace={"inline": 10**6},
            store=False,
            timeout_ms=max(1, int(1e3 * plan.moment)) if late else None,
        )
    except DeadlinePassed:
        return "ended_early" if late else "wrong"
    right = has_expected_outputs(answer.outputs, kind) and has_expected_records(
        answer.trace.columns, kind
    )
    return "finished" if right else "wrong"


async def _disconnect(client: AsyncFlowClient, plan: Planned) -> str:
    request = asyncio.create_task(_simulate(client, plan))
    done, _ = await asyncio.wait({request}, timeout=plan.moment)
    if done:
        return request.result()
    request.cancel()
    await asyncio.wait({request})
    return "ended_early"


async def _cancel(client: AsyncFlowClient, plan: Planned) -> str:
    kind = plan.kind
    run = await client.submit_run(kind.rows, options=kind.options, seed=kind.seed, outputs=OUTPUTS)
    await asyncio.sleep(plan.moment)
    with contextlib.suppress(Conflict):  # The run has ended before.
        await client.cancel(run.run_id)
    ended = await client.wait(run.run_id)
    if ended.state == "cancelled":
        return "ended_early"
    if ended.state != "succeeded":
        return "wrong"
    outputs = {name: await client.outputs(run.run_id, name) for name in OUTPUTS}
    return "finished" if has_expected_outputs(outputs, kind) else "wrong"


async def _left_over(client: AsyncFlowClient) -> int:
    """Return the number of runs and flows that are in the engine after every request has ended."""
    until = time.monotonic() + EMPTY_WITHIN_SECONDS
    while True:
        engine = (await client.system())["engine"]
        held = sum(int(engine[name]) for name in HELD)
        if not held or time.monotonic() > until:
            return held
        await asyncio.sleep(0.05)
