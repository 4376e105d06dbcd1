"""Find the run that a path names."""

from __future__ import annotations

import asyncio

from service.lifespan import Service
from service.problems import conflict, not_found
from service.store.catalog import ENDED
from service.store.tables import RunRow


async def find_run(service: Service, run_id: str) -> RunRow:
    """The run of that id.

    Raises:
        Problem: 404.
    """
    row = await asyncio.to_thread(service.archive.catalog.get, run_id)
    if row is None:
        raise not_found(f"run {run_id!r}")
    return row


async def find_simulation(service: Service, run_id: str) -> RunRow:
    """The run of that id, which has or will have outputs and a trace.

    Raises:
        Problem: 404, also of a training.
    """
    row = await find_run(service, run_id)
    if row.kind == "training":
        raise not_found(f"simulation {run_id!r}: it is a training, and its trial has the curves")
    return row


async def find_ended_run(service: Service, run_id: str) -> RunRow:
    """The run of that id, whose files do not change any more.

    Raises:
        Problem: 404; 409, it has not ended.
    """
    row = await find_simulation(service, run_id)
    if row.state not in ENDED:
        raise conflict("read the results of a run", row.state, ENDED)
    return row
