"""The run that a path names."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Path

from energy_flow.choices import ENDED_STATES, RunKind
from service.api.dependencies import ServiceDep
from service.lifespan import Service
from service.problems import conflict, not_found
from service.store.id_prefix import MIN_CHARACTERS, choose_id, is_prefix
from service.store.tables import RunRow
from service.threads import Threads, in_thread

_DESCRIPTION = f"its id, or the beginning of it, from {MIN_CHARACTERS} characters"


async def _resolve(
    run_id: Annotated[str, Path(description=_DESCRIPTION)], service: ServiceDep
) -> str:
    """Return the id of the run that a path names.

    Raises:
        Problem: 409, several ids begin with the text.
    """
    if not is_prefix(run_id):
        return run_id
    ids = await in_thread(Threads.READS, service.archive.catalog.find_by_prefix, run_id)
    return choose_id("run", run_id, ids) or run_id


async def _resolve_other(
    other: Annotated[str, Path(description=_DESCRIPTION)], service: ServiceDep
) -> str:
    return await _resolve(other, service)


RunId = Annotated[str, Depends(_resolve)]
"""The id of the run that a path names; whether there is one is not known."""
OtherRunId = Annotated[str, Depends(_resolve_other)]
"""The same for the second run of a path."""


async def find_run(service: Service, run_id: str) -> RunRow:
    """Return the row of a run.

    Args:
        service: The service.
        run_id: Id of the run.

    Raises:
        Problem: 404, there is no such run.
    """
    row = await in_thread(Threads.READS, service.archive.catalog.get, run_id)
    if row is None:
        raise not_found(f"run {run_id!r}")
    return row


async def find_simulation(service: Service, run_id: str) -> RunRow:
    """Return the row of a run that has or will have outputs and a trace.

    Args:
        service: The service.
        run_id: Id of the run.

    Raises:
        Problem: 404, there is no such run, or it is a training.
    """
    row = await find_run(service, run_id)
    if row.kind == RunKind.TRAINING:
        raise not_found(f"simulation {run_id!r}: it is a training; read the curves of its trial")
    return row


async def find_ended_run(service: Service, run_id: str) -> RunRow:
    """Return the row of a simulation that has ended, whose files no longer change.

    Args:
        service: The service.
        run_id: Id of the run.

    Raises:
        Problem: 404, there is no such simulation; 409, it has not ended; 507, its files could not
            be completed yet.
    """
    row = await find_simulation(service, run_id)
    if row.is_complete:
        return row
    if row.state in ENDED_STATES or service.ends.has(run_id):
        raise service.ends.make_problem(run_id)
    raise conflict("read the results of a run", row.state, ENDED_STATES)
