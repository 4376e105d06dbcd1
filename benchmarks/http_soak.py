"""Many runs through a server, most of them disturbed.

A caller that hangs up closes its connection in the middle; one that cancels has queued its run
before; one that is late has set ``timeout_ms``.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

import psutil

from benchmarks.resident import growth
from benchmarks.server_process import RunningServer, energy_flow_server
from benchmarks.soak_runs import (
    MODEL,
    OUTPUTS,
    Fate,
    Planned,
    kinds,
    planned,
    same_outputs,
    same_records,
    small_processor,
)
from energy_flow.client import AsyncFlowClient, Conflict, DeadlinePassed
from energy_flow.engine.engine import REST_SECONDS

KINDS = 24
WAVES = 10
AT_ONCE = 32
LONGEST_SECONDS = 1.0
LOST_AFTER_SECONDS = 120
EMPTY_WITHIN_SECONDS = 5
RESTS_AFTER = (WAVES // 3, WAVES)
"""Waves after which the server rests for long enough to give back what it does not need."""
HELD = ("queued_runs", "active_runs", "active_flows")


def soak_server(runs: int, device: str) -> dict[str, Any]:
    """Starts a server, sends it runs, and tells what became of them, as plain JSON data."""
    plans = planned(kinds(small_processor(device), KINDS, seed=0), runs, LONGEST_SECONDS, seed=2)
    assignments = [f"{name}={value}" for name, value in MODEL.items()]
    with energy_flow_server(device, *assignments) as server:
        return asyncio.run(_soaked(server, plans))


async def _soaked(server: RunningServer, plans: Sequence[Planned]) -> dict[str, Any]:
    verdicts: Counter[str] = Counter()
    memory: list[int] = []
    rested: list[int] = []
    left_over = 0
    began = time.perf_counter()
    size = -(-len(plans) // WAVES)
    async with AsyncFlowClient(server.url) as client:
        await client.wait_until_ready(LOST_AFTER_SECONDS)
        for first in range(0, len(plans), size):
            turn = asyncio.Semaphore(AT_ONCE)
            verdicts += Counter(
                await asyncio.gather(
                    *(_verdict(client, plan, turn) for plan in plans[first : first + size])
                )
            )
            left_over += await _left_over(client)
            memory.append(psutil.Process(server.pid).memory_info().rss)
            if len(memory) in RESTS_AFTER:
                await asyncio.sleep(REST_SECONDS + 1)
                rested.append(psutil.Process(server.pid).memory_info().rss)
        seconds = time.perf_counter() - began
        unfinished = [run.run_id async for run in client.runs() if not run.ended]
    return {
        "runs": len(plans),
        "fates": dict(Counter(plan.fate.value for plan in plans)),
        "finished": verdicts["finished"],
        "broken_off": verdicts["broken_off"],
        "lost": verdicts["lost"] + len(unfinished),
        "wrong": verdicts["wrong"],
        "left_over": left_over,
        "resident_bytes_after_waves": memory,
        "resident_bytes_at_rest": rested,
        "growth_bytes": round(growth(memory)),
        "seconds": round(seconds, 2),
    }


async def _verdict(client: AsyncFlowClient, plan: Planned, turn: asyncio.Semaphore) -> str:
    """``finished``, ``broken_off``, ``lost`` or ``wrong``."""
    async with turn:
        try:
            async with asyncio.timeout(LOST_AFTER_SECONDS):
                if plan.fate is Fate.CANCELLED:
                    return await _cancelled(client, plan)
                if plan.fate is Fate.HUNG_UP:
                    return await _hung_up(client, plan)
                return await _answered(client, plan)
        except TimeoutError:
            return "lost"


async def _answered(client: AsyncFlowClient, plan: Planned) -> str:
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
        return "broken_off" if late else "wrong"
    right = same_outputs(answer.outputs, kind) and same_records(answer.trace.columns, kind)
    return "finished" if right else "wrong"


async def _hung_up(client: AsyncFlowClient, plan: Planned) -> str:
    asking = asyncio.create_task(_answered(client, plan))
    done, _ = await asyncio.wait({asking}, timeout=plan.moment)
    if done:
        return asking.result()
    asking.cancel()
    await asyncio.wait({asking})
    return "broken_off"


async def _cancelled(client: AsyncFlowClient, plan: Planned) -> str:
    kind = plan.kind
    run = await client.submit_run(kind.rows, options=kind.options, seed=kind.seed, outputs=OUTPUTS)
    await asyncio.sleep(plan.moment)
    with contextlib.suppress(Conflict):  # It has ended before.
        await client.cancel(run.run_id)
    ended = await client.wait(run.run_id)
    if ended.state == "cancelled":
        return "broken_off"
    if ended.state != "succeeded":
        return "wrong"
    outputs = {name: await client.outputs(run.run_id, name) for name in OUTPUTS}
    return "finished" if same_outputs(outputs, kind) else "wrong"


async def _left_over(client: AsyncFlowClient) -> int:
    """Runs and flows that are still in the engine although nobody waits for any."""
    until = time.monotonic() + EMPTY_WITHIN_SECONDS
    while True:
        engine = (await client.system())["engine"]
        held = sum(int(engine[name]) for name in HELD)
        if not held or time.monotonic() > until:
            return held
        await asyncio.sleep(0.05)
