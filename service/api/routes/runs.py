"""Runs as a resource."""

from __future__ import annotations

import asyncio
import contextlib
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from energy_flow.choices import ENDED_STATES, RunKind
from energy_flow.errors import Fault
from service.api.answers import REFUSALS, describe_answers
from service.api.bodies import read_body, read_labels, read_object
from service.api.client_identity import identify_client
from service.api.deletion import choose, delete_each, make_filter
from service.api.dependencies import ServiceDep, read_idempotency_key
from service.api.find_run import RunId, find_ended_run, find_run
from service.api.list_query import ListQueryDep, render_page
from service.api.pagination import DEFAULT_ITEMS, Limit, make_page, parse_cursor
from service.api.request_bodies import describe_embeddings_body, describe_json_body
from service.api.simulate_request import hold_run, parse_and_validate, require_room
from service.json_encoding import JsonAnswer
from service.lifespan import Service
from service.problems import Problem, conflict, invalid, not_found
from service.requests.members import parse_members
from service.runs.active_run import Persistence
from service.runs.views import render_run, run_url
from service.schemas.labels import LabelFields
from service.schemas.list_filter import DeletionAnswer, RunDeletionFields
from service.schemas.metrics import SamplePage
from service.schemas.run import RunPage, RunView
from service.schemas.simulate import RunFields, RunRequest
from service.schemas.telemetry import MemoryAnswer, ProfileAnswer
from service.store.catalog import UNFINISHED
from service.store.tables import RunRow
from service.threads import Threads, in_thread

router = APIRouter(prefix="/v1/runs", tags=["runs"])


@router.post(
    "",
    status_code=202,
    responses=describe_answers(RunView, statuses=(202,)),
    openapi_extra=describe_embeddings_body(RunRequest),
)
async def queue_run(request: Request, service: ServiceDep) -> Response:
    """Queue a run of embeddings, or of rows of a dataset, and answer at once.

    A repetition with the same Idempotency-Key queues nothing.
    """
    require_room(service, request)
    body = await read_body(request)
    key = await read_idempotency_key(request, body)
    simulation, model = await parse_and_validate(service, request, body, kind=RunFields)
    del body
    if not simulation.fields.store:
        message = "must be true, because a queued run is read from the store; or POST /v1/simulate"
        raise invalid([Fault(("store",), message, False)])
    await hold_run(request, simulation, copies=0)
    row, is_repetition = await service.runs.queue(simulation, model, identify_client(request), key)
    request.state.run_id = row.run_id
    headers = {"Location": run_url(row.run_id)}
    if is_repetition:
        headers["Idempotency-Replayed"] = "true"
    run = service.runs.find(row.run_id)
    return JsonAnswer(render_run(row, run), status_code=202, headers=headers)


@router.get("", responses=describe_answers(RunPage))
async def list_runs(
    service: ServiceDep,
    query: ListQueryDep,
    kind: Annotated[list[RunKind] | None, Query(description="one or several")] = None,
    experiment: Annotated[str | None, Query(description="id or name")] = None,
) -> Response:
    """Return a page of runs, newest first unless they are sorted otherwise."""
    sort, place = query.parse_sort(), query.parse_place()
    owner = None if experiment is None else await service.experiments.find(experiment)
    chosen = query.make_filter(kind, None if owner is None else owner.experiment_id)
    page = await in_thread(
        Threads.READS, service.archive.catalog.page, chosen, sort, place, query.limit
    )

    def render(row: RunRow) -> dict[str, Any]:
        return render_run(row, service.runs.find(row.run_id))

    return JsonAnswer(render_page(page, sort, render))


@router.get("/{run_id}", responses=describe_answers(RunView))
async def describe_run(run_id: RunId, service: ServiceDep) -> Response:
    """Return the state and progress of a run, and its metrics once it has ended."""
    row = await find_run(service, run_id)
    return JsonAnswer(render_run(row, service.runs.find(run_id)))


@router.patch(
    "/{run_id}",
    responses=describe_answers(RunView),
    openapi_extra=describe_json_body(LabelFields),
)
async def relabel_run(run_id: RunId, request: Request, service: ServiceDep) -> Response:
    """Change name, tags or note of a run, in any state; members that are absent stay."""
    labels = await read_labels(request, LabelFields)
    row = await in_thread(Threads.CHANGES, service.archive.relabel, run_id, **labels)
    if row is None:
        raise not_found(f"run {run_id!r}")
    return JsonAnswer(render_run(row, service.runs.find(run_id)))


@router.delete("/{run_id}", status_code=204, responses=REFUSALS)
async def delete_run(run_id: RunId, service: ServiceDep) -> Response:
    """Remove a run that has ended, with all its files."""
    await _delete(service, run_id)
    return Response(status_code=204)


@router.post(
    ":delete",
    responses=describe_answers(DeletionAnswer),
    openapi_extra=describe_json_body(RunDeletionFields),
)
async def delete_runs(request: Request, service: ServiceDep) -> Response:
    """Remove several runs that have ended; answer which were removed, and which not and why."""
    members = await read_object(request, await read_body(request))
    fields = parse_members(RunDeletionFields, members)
    chosen = None
    if fields.filter is not None:
        name = fields.filter.experiment
        owner = None if name is None else await service.experiments.find(name)
        experiment_id = None if owner is None else owner.experiment_id
        chosen = make_filter(fields.filter, fields.filter.kind, experiment_id)
    ids = await choose(fields, chosen, service.archive.catalog.find_ids)
    return JsonAnswer(await delete_each(ids, partial(_delete, service)))


@router.post("/{run_id}/cancel", responses=describe_answers(RunView, statuses=(200, 202)))
async def cancel_run(run_id: RunId, service: ServiceDep) -> Response:
    """End a run within a step, and keep its results so far; 202 if that takes longer."""
    run = service.runs.find(run_id)
    if run is not None and run.persistence is Persistence.ANSWER:
        raise not_found(f"run {run_id!r}")
    if run is None or run.persistence is Persistence.STORE:
        _refuse_trial(await find_run(service, run_id), "cancel")
    is_cancelled = run is not None and service.runs.cancel(run)
    if run is not None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(run.wait(), service.limits.max_wait_seconds)
    row = await find_run(service, run_id)
    if not is_cancelled:
        raise conflict("cancel a run", row.state, UNFINISHED)
    status = 200 if row.state in ENDED_STATES else 202
    return JsonAnswer(render_run(row, run), status_code=status)


@router.get("/{run_id}/memory", responses=describe_answers(MemoryAnswer))
async def read_memory(run_id: RunId, service: ServiceDep) -> Response:
    """Return the memory of device and host, predicted and measured, step by step."""
    return await _read_document(service, run_id, "memory")


@router.get("/{run_id}/profile", responses=describe_answers(ProfileAnswer))
async def read_profile(run_id: RunId, service: ServiceDep) -> Response:
    """Return the time of each phase of each step, and the metrics of each step."""
    return await _read_document(service, run_id, "profile")


@router.get("/{run_id}/samples", responses=describe_answers(SamplePage))
async def list_samples(
    run_id: RunId, service: ServiceDep, limit: Limit = DEFAULT_ITEMS, cursor: str | None = None
) -> Response:
    """Return a page of the counters of samples that have ended, in the order of the rows."""
    row = await find_run(service, run_id)
    first = parse_cursor(cursor) or 0

    def read() -> list[dict[str, Any]]:
        with service.archive.noticing_removal(run_id):
            return service.archive.open(row).read_samples(first, limit + 1)

    samples = await in_thread(Threads.READS, read)
    page = make_page(samples, limit, lambda sample: sample, lambda *_: first + limit)
    return JsonAnswer(page)


async def _delete(service: Service, run_id: str) -> None:
    states = () if service.ends.has(run_id) else ENDED_STATES
    if not await in_thread(Threads.CHANGES, service.archive.discard, run_id, *states):
        row = await find_run(service, run_id)
        _refuse_trial(row, "delete")
        raise conflict("delete a run", row.state, ENDED_STATES)


def _refuse_trial(row: RunRow, action: str) -> None:
    """Raise 409 if the run is a trial, which only its experiment may change."""
    if row.experiment_id is not None:
        url = f"/v1/experiments/{row.experiment_id}"
        message = f"the run is trial {row.trial} of the experiment {url}; {action} the experiment"
        raise Problem(409, message, extra={"state": row.state, "experiment": url})


async def _read_document(service: Service, run_id: str, name: str) -> Response:
    row = await find_ended_run(service, run_id)

    def read() -> bytes:
        with service.archive.noticing_removal(run_id):
            run = service.archive.open(row)
            if not run.has_document(name):
                raise not_found(f"{name} of run {run_id!r}: it ended before its first sample did")
            return run.document(name)

    return JsonAnswer(await in_thread(Threads.READS, read))
