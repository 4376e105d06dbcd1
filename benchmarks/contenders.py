"""Ways to send embeddings: to a model in this process, by the client, by plain HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import httpx
import numpy as np
import orjson
from numpy.typing import NDArray

from benchmarks.callers import Call
from benchmarks.workload import all_embeddings
from energy_flow import FlowProcessor
from energy_flow.client import AsyncFlowClient

TIMEOUT_SECONDS = 300


@asynccontextmanager
async def in_process(model: FlowProcessor) -> AsyncIterator[Call]:
    """Yield calls of ``simulate`` in this process, one after the other in their order.

    Args:
        model: the model.
    """
    loop = asyncio.get_running_loop()
    with ThreadPoolExecutor(1, thread_name_prefix="in-process") as thread:

        def simulate(rows: NDArray[np.int64]) -> NDArray[np.float32]:
            result = model.simulate(all_embeddings()[rows], sample_keys=rows.tolist())
            surface: NDArray[np.float32] = result.outputs["surface"]
            return surface

        async def call(_: int, rows: NDArray[np.int64]) -> NDArray[np.float32]:
            return await loop.run_in_executor(thread, simulate, rows)

        yield call


# Every caller has a connection of its own, as callers on different machines have. A common pool of
# connections would cost the calling side more time with every connection.


@asynccontextmanager
async def flow_clients(url: str, callers: int, *, store: bool) -> AsyncIterator[Call]:
    """Yield calls by the project's client, one client for each caller, without the trace.

    Args:
        url: address of the server.
        callers: number of callers.
        store: whether the server stores the runs.
    """
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(AsyncFlowClient(url)) for _ in range(callers)]
        await clients[0].wait_until_ready(TIMEOUT_SECONDS)

        async def call(caller: int, rows: NDArray[np.int64]) -> NDArray[np.float32]:
            simulation = await clients[caller].simulate(
                all_embeddings()[rows],
                sample_keys=rows.tolist(),
                trace={"inline": 0},
                store=store,
            )
            return simulation.surface

        yield call


@asynccontextmanager
async def plain_http(
    url: str, callers: int, path: str, fields: Mapping[str, Any]
) -> AsyncIterator[Call]:
    """Yield calls by JSON over HTTP, the same for any server.

    The answer has nested lists at ``surface``, or at ``outputs.surface``.

    Args:
        url: address of the server.
        callers: number of callers.
        path: path of the requests.
        fields: members of every request besides embeddings and sample keys.
    """
    async with AsyncExitStack() as stack:
        clients = [
            await stack.enter_async_context(
                httpx.AsyncClient(
                    base_url=url,
                    timeout=TIMEOUT_SECONDS,
                    verify=False,
                    # Compression has no use within one machine.
                    headers={"accept-encoding": "identity", "content-type": "application/json"},
                )
            )
            for _ in range(callers)
        ]

        async def call(caller: int, rows: NDArray[np.int64]) -> NDArray[np.float32]:
            body = {"embeddings": all_embeddings()[rows], "sample_keys": rows, **fields}
            answer = await clients[caller].post(
                path, content=orjson.dumps(body, option=orjson.OPT_SERIALIZE_NUMPY)
            )
            answer.raise_for_status()
            document = orjson.loads(answer.content)
            return np.asarray(document.get("outputs", document)["surface"], dtype=np.float32)

        yield call
