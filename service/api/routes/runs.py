"""Runs as a resource."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from energy_flow.errors import Fault
from service.api import cursors
from service.api.dependencies import MOST_ITEMS, ServiceDep, idempotency, read_body
from service.api.find_run import find_ended_run, find_run
from service.api.openapi import REFUSALS, run_body
from service.api.simulate_request import take_order
from service.json_encoding import JsonAnswer
from service.lifespan import Service
from service.problems import Problem, conflict, invalid, not_found
from service.runs.active_run import Keeping
from service.runs.views import run_answer, run_url
from service.schemas import RunFields, RunKind, RunPage, RunState, RunView
from service.store.catalog import ENDED, UNFINISHED
from service.store.tables import RunRow

router = APIRouter(prefix="/v1/runs", tags=["runs"])

# What a caller waits for a cancelled run to end; it goes on within a step.
CANCEL_SECONDS = 5.0


@router.post(
    "",
    status_code=202,
    response_model=RunView,
    responses=REFUSALS,
    openapi_extra=run_body(),
)
async def queue_run(request: Request, service: ServiceDep) -> Response:
    """Queues a run and answers at once; with Idempotency-Key, once however often it is sent.

    It takes embeddings, or rows of a dataset: ``{"dataset": name, "rows": [from, to]}``.
    """
    body = await read_body(request)
    key = idempotency(request, body)
    order, model = await take_order(service, request, body, kind=RunFields)
    del body
    if not order.fields.store:
        said = "must be true: a queued run is read from the store; POST /v1/simulate can do without"
        raise invalid([Fault(("store",), said, False)])
    row, replayed = await service.runs.queue(order, model, key)
    request.state.run_id = row.run_id
    headers = {"Location": run_url(row.run_id)}
    if replayed:
        headers["Idempotency-Replayed"] = "true"
    live = service.runs.find(row.run_id)
    return JsonAnswer(run_answer(row, live), status_code=202, headers=headers)


@router.get("", response_model=RunPage, responses=REFUSALS)
async def list_runs(
    service: ServiceDep,
    limit: Annotated[int, Query(ge=1, le=MOST_ITEMS)] = 100,
    cursor: str | None = None,
    state: RunState | None = None,
    kind: Annotated[list[RunKind] | None, Query(description="one or several")] = None,
    experiment: Annotated[str | None, Query(description="id or name")] = None,
) -> Response:
    """Runs, newest first."""
    before = None if cursor is None else cursors.decode(cursor, 1)[0]
    of = None if experiment is None else await service.experiments.find(experiment)
    rows = await asyncio.to_thread(
        service.archive.catalog.page,
        limit + 1,
        before,
        state=state,
        kinds=kind,
        experiment_id=None if of is None else of.experiment_id,
    )
    page = rows[:limit]
    following = cursors.encode(page[-1].position) if len(rows) > limit else None
    items = [run_answer(row, service.runs.find(row.run_id)) for row in page]
    return JsonAnswer({"items": items, "next_cursor": following})


@router.get("/{run_id}", response_model=RunView, responses=REFUSALS)
async def describe_run(run_id: str, service: ServiceDep) -> Response:
    """State, progress, and once it has ended, metrics."""
    row = await find_run(service, run_id)
    return JsonAnswer(run_answer(row, service.runs.find(run_id)))


@router.delete("/{run_id}", status_code=204, responses=REFUSALS)
async def delete_run(run_id: str, service: ServiceDep) -> Response:
    """Removes a run that has ended, with all its files."""
    if not await asyncio.to_thread(service.archive.discard, run_id, *ENDED):
        row = await find_run(service, run_id)
        _refuse_trial(row, "delete")
        raise conflict("delete a run", row.state, ENDED)
    return Response(status_code=204)


@router.post("/{run_id}/cancel", response_model=RunView, responses=REFUSALS)
async def cancel_run(run_id: str, service: ServiceDep) -> Response:
    """Ends a run within a step; it keeps what it had. 202 where that takes longer than usual."""
    live = service.runs.find(run_id)
    if live is not None and live.keeping is Keeping.ANSWER:
        raise not_found(f"run {run_id!r}")
    if live is None or live.keeping is Keeping.STORE:
        _refuse_trial(await find_run(service, run_id), "cancel")
    cancelling = live is not None and service.runs.cancel(live)
    if live is not None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(live.wait(), CANCEL_SECONDS)
    row = await find_run(service, run_id)
    if not cancelling:
        raise conflict("cancel a run", row.state, UNFINISHED)
    status = 200 if row.state in ENDED else 202
    return JsonAnswer(run_answer(row, live), status_code=status)


@router.get("/{run_id}/memory", response_model=dict[str, Any], responses=REFUSALS)
async def read_memory(run_id: str, service: ServiceDep) -> Response:
    """Memory telemetry: device and host, predicted and measured, step by step."""
    return await _document(service, run_id, "memory")


@router.get("/{run_id}/profile", response_model=dict[str, Any], responses=REFUSALS)
async def read_profile(run_id: str, service: ServiceDep) -> Response:
    """How long each phase of each step took, and the metrics of each step."""
    return await _document(service, run_id, "profile")


@router.get("/{run_id}/samples", response_model=dict[str, Any], responses=REFUSALS)
async def list_samples(
    run_id: str,
    service: ServiceDep,
    limit: Annotated[int, Query(ge=1, le=MOST_ITEMS)] = 100,
    cursor: str | None = None,
) -> Response:
    """The counts of each sample that has ended, in the order of the rows."""
    await find_run(service, run_id)
    first = 0 if cursor is None else cursors.decode(cursor, 1)[0]
    folder = service.archive.folder(run_id)
    samples = await asyncio.to_thread(folder.samples, first, limit + 1)
    following = cursors.encode(first + limit) if len(samples) > limit else None
    return JsonAnswer({"items": samples[:limit], "next_cursor": following})


def _refuse_trial(row: RunRow, action: str) -> None:
    """Raises 409 for what is done with an experiment as a whole."""
    if row.experiment_id is not None:
        url = f"/v1/experiments/{row.experiment_id}"
        said = f"the run is trial {row.trial} of the experiment {url}; {action} that"
        raise Problem(409, said, extra={"state": row.state, "experiment": url})


async def _document(service: Service, run_id: str, name: str) -> Response:
    await find_ended_run(service, run_id)
    try:
        data = await asyncio.to_thread(service.archive.folder(run_id).document, name)
    except FileNotFoundError:
        raise not_found(f"{name} of run {run_id!r}: it ended before its first sample did") from None
    return JsonAnswer(data)
