"""Experiments as a resource, their trials, and what they gave."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Header, Path, Query, Request
from starlette.responses import Response, StreamingResponse

from energy_flow.training.store import TrainingFolder
from service.api import cursors
from service.api.dependencies import (
    MOST_ITEMS,
    ServiceDep,
    choose_format,
    idempotency,
    read_body,
    read_object,
)
from service.api.openapi import REFUSALS, experiment_body
from service.api.sse import MEDIA_TYPE, event_schema, event_stream, id_in
from service.api.trace_response import TraceQueryDep, trace_of
from service.experiments.answers import trial_answer
from service.experiments.live_experiment import LiveExperiment, number_of
from service.experiments.plan import Plan, make_plan
from service.experiments.results import table_of_points, table_of_trials, to_csv, to_parquet
from service.experiments.schemas import (
    Curves,
    ExperimentFields,
    ExperimentKind,
    ExperimentPage,
    ExperimentState,
    ExperimentView,
    ResultTable,
    TrialPage,
    TrialView,
)
from service.json_encoding import JsonAnswer, to_json
from service.lifespan import Service
from service.problems import invalid, not_found
from service.requests.validate import validate
from service.states import ENDED
from service.store.tables import ExperimentRow, RunRow

router = APIRouter(prefix="/v1/experiments", tags=["experiments"])

ExperimentId = Annotated[str, Path(description="its id, or its name")]
TrialNumber = Annotated[int, Path(ge=0, le=2**31 - 1)]

RESULT_TYPES = {
    "json": "application/json",
    "csv": "text/csv",
    "parquet": "application/vnd.apache.parquet",
}
_EVENT = event_schema("state", "trial", "progress", "gap")


@router.post(
    "",
    status_code=201,
    response_model=ExperimentView,
    responses=REFUSALS,
    openapi_extra=experiment_body(),
)
async def create_experiment(request: Request, service: ServiceDep) -> Response:
    """Keeps an experiment, durably, and carries it out in its turn.

    With Idempotency-Key, once however often it is sent. Names are unique.
    """
    body = await read_body(request)
    document = await read_object(request, body)
    key = idempotency(request, body)
    plan = await _plan(service, document)
    row, replayed = await service.experiments.create(plan, key)
    answer = service.experiments.answer(row)
    headers = {"Location": answer["url"]}
    if replayed:
        headers["Idempotency-Replayed"] = "true"
    return JsonAnswer(answer, status_code=201, headers=headers)


@router.get("", response_model=ExperimentPage, responses=REFUSALS)
async def list_experiments(
    service: ServiceDep,
    limit: Annotated[int, Query(ge=1, le=MOST_ITEMS)] = 100,
    cursor: str | None = None,
    state: ExperimentState | None = None,
    kind: ExperimentKind | None = None,
) -> Response:
    """Experiments, newest first."""
    before = None if cursor is None else cursors.decode(cursor, 1)[0]
    desk = service.experiments
    rows = await asyncio.to_thread(desk.store.page, limit + 1, before, state, kind)
    page = rows[:limit]
    following = cursors.encode(page[-1].position) if len(rows) > limit else None
    return JsonAnswer({"items": [desk.answer(row) for row in page], "next_cursor": following})


@router.get("/{experiment_id}", response_model=ExperimentView, responses=REFUSALS)
async def describe_experiment(experiment_id: ExperimentId, service: ServiceDep) -> Response:
    """State, trials in each state, progress, and how long the rest will take."""
    return JsonAnswer(service.experiments.answer(await service.experiments.find(experiment_id)))


@router.delete("/{experiment_id}", status_code=204, responses=REFUSALS)
async def delete_experiment(experiment_id: ExperimentId, service: ServiceDep) -> Response:
    """Removes an experiment that has ended, with its trials and all their files."""
    await service.experiments.delete(await service.experiments.find(experiment_id))
    return Response(status_code=204)


@router.post("/{experiment_id}/pause", response_model=ExperimentView, responses=REFUSALS)
async def pause_experiment(experiment_id: ExperimentId, service: ServiceDep) -> Response:
    """Ends the chunks that are under way and starts no other."""
    row = await service.experiments.find(experiment_id)
    return JsonAnswer(service.experiments.answer(await service.experiments.pause(row)))


@router.post("/{experiment_id}/resume", response_model=ExperimentView, responses=REFUSALS)
async def resume_experiment(experiment_id: ExperimentId, service: ServiceDep) -> Response:
    """Goes on with the chunks that are left."""
    row = await service.experiments.find(experiment_id)
    return JsonAnswer(service.experiments.answer(await service.experiments.resume(row)))


@router.post("/{experiment_id}/cancel", response_model=ExperimentView, responses=REFUSALS)
async def cancel_experiment(experiment_id: ExperimentId, service: ServiceDep) -> Response:
    """Ends it within a step; it keeps what it had. 202 where that takes longer than usual."""
    row = await service.experiments.find(experiment_id)
    row = await service.experiments.cancel(row)
    status = 200 if row.state in ENDED else 202
    return JsonAnswer(service.experiments.answer(row), status_code=status)


@router.get("/{experiment_id}/trials", response_model=TrialPage, responses=REFUSALS)
async def list_trials(
    experiment_id: ExperimentId,
    service: ServiceDep,
    limit: Annotated[int, Query(ge=1, le=MOST_ITEMS)] = 100,
    cursor: str | None = None,
    state: ExperimentState | None = None,
) -> Response:
    """Trials by their number, ascending."""
    row = await service.experiments.find(experiment_id)
    # Before the trials are read: what ends meanwhile is known to both.
    live = service.experiments.runner.find(row.experiment_id)
    trials = await asyncio.to_thread(
        service.experiments.store.trials,
        row.experiment_id,
        first=0 if cursor is None else cursors.decode(cursor, 1)[0],
        limit=limit + 1,
        states=None if state is None else [state],
    )
    following = cursors.encode(number_of(trials[limit])) if len(trials) > limit else None
    items = [trial_answer(trial, live) for trial in trials[:limit]]
    return JsonAnswer({"items": items, "next_cursor": following})


@router.get("/{experiment_id}/trials/{trial}", response_model=TrialView, responses=REFUSALS)
async def describe_trial(
    experiment_id: ExperimentId, trial: TrialNumber, service: ServiceDep
) -> Response:
    """A trial; its results are the run at ``run_url``."""
    row, live = await _trial(service, experiment_id, trial)
    return JsonAnswer(trial_answer(row, live))


@router.get("/{experiment_id}/trials/{trial}/trace", response_class=Response, responses=REFUSALS)
async def read_trial_trace(
    experiment_id: ExperimentId,
    trial: TrialNumber,
    request: Request,
    service: ServiceDep,
    query: TraceQueryDep,
) -> Response:
    """The trace of a trial, as that of its run; while it goes on, of its finished chunks."""
    row, _ = await _trial(service, experiment_id, trial)
    return await trace_of(row.run_id, request, service, query)


@router.get("/{experiment_id}/trials/{trial}/curves", response_model=Curves, responses=REFUSALS)
async def read_curves(
    experiment_id: ExperimentId,
    trial: TrialNumber,
    service: ServiceDep,
    points: Annotated[
        int, Query(ge=1, le=100_000, description="optimiser steps to tell of, evenly spread")
    ] = 500,
) -> Response:
    """The curves of a training: losses, gradients and figures by step; null where not measured."""
    row, _ = await _trial(service, experiment_id, trial)
    if row.kind != "training":
        raise not_found(f"curves of trial {trial}: it does not train, so they")
    folder = TrainingFolder(service.archive.folder(row.run_id).training)
    return JsonAnswer({"curves": await asyncio.to_thread(folder.curves, points)})


@router.get(
    "/{experiment_id}/events",
    response_class=StreamingResponse,
    responses={**REFUSALS, 200: {"content": {MEDIA_TYPE: {"schema": _EVENT}}}},
)
async def follow_experiment(
    experiment_id: ExperimentId,
    service: ServiceDep,
    last_event_id: Annotated[str | None, Header(description="resume after this event")] = None,
) -> Response:
    """``state``, ``trial`` and ``progress`` events until the experiment has ended.

    A reader who comes late, falls behind, or was there before a restart of the server gets a
    ``gap`` event in place of what is no longer held.
    """
    row = await service.experiments.find(experiment_id)
    return event_stream(service.experiments.runner.events(row), id_in(last_event_id))


@router.get(
    "/{experiment_id}/results",
    response_class=Response,
    responses={
        **REFUSALS,
        200: {
            "model": ResultTable,
            "content": {media_type: {} for media_type in list(RESULT_TYPES.values())[1:]},
        },
    },
)
async def read_results(
    experiment_id: ExperimentId,
    request: Request,
    service: ServiceDep,
    result_format: Annotated[
        str | None,
        Query(
            alias="format",
            description="json, csv or parquet; else by Accept",
            json_schema_extra={"enum": list(RESULT_TYPES)},
        ),
    ] = None,
    of: Annotated[
        Literal["trials", "points"],
        Query(description="a row a trial, or a row a point with mean and std over its seeds"),
    ] = "trials",
) -> Response:
    """What the experiment gave so far: parameters, metrics and times."""
    accept = request.headers.get("accept", "")
    chosen = choose_format(result_format, accept, RESULT_TYPES, "a table of results")
    row = await service.experiments.find(experiment_id)
    data = await asyncio.to_thread(_results, service, row, of, chosen)
    headers = {"Vary": "Accept"}
    if chosen != "json":
        name = f"{row.name}-{of}.{chosen}"
        headers["Content-Disposition"] = f'attachment; filename="{name}"'
    return Response(data, media_type=RESULT_TYPES[chosen], headers=headers)


async def _plan(service: Service, document: dict[str, Any]) -> Plan:
    given = {name: value for name, value in document.items() if value is not None}
    fields, faults = validate(ExperimentFields, given)
    faulty = {fault.loc[:1] for fault in faults}
    if ("model",) in faulty or ("dataset",) in faulty:
        raise invalid(faults)
    model = service.models.find(fields.model)
    dataset = await asyncio.to_thread(service.datasets.find, fields.dataset)
    return await asyncio.to_thread(
        make_plan,
        fields,
        faults,
        model,
        dataset,
        lambda config, samples: service.engine.check(config, samples, streams=True),
        service.settings.max_samples,
    )


async def _trial(
    service: Service, experiment_id: str, number: int
) -> tuple[RunRow, LiveExperiment | None]:
    row = await service.experiments.find(experiment_id)
    live = service.experiments.runner.find(row.experiment_id)
    trial = await asyncio.to_thread(service.experiments.store.trial, row.experiment_id, number)
    if trial is None:
        raise not_found(f"trial {number} of the experiment {row.name!r}")
    return trial, live


def _results(service: Service, row: ExperimentRow, of: str, chosen: str) -> bytes:
    trials = service.experiments.store.trials(row.experiment_id)
    table = (table_of_trials if of == "trials" else table_of_points)(row, trials)
    if chosen == "csv":
        return to_csv(table)
    if chosen == "parquet":
        return to_parquet(table)
    return to_json(
        {
            "experiment_id": row.experiment_id,
            "name": row.name,
            "state": row.state,
            "columns": list(table.columns),
            "rows": table.rows,
            "next_cursor": None,
        }
    )
