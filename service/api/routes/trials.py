"""The trials of experiments, with their traces and curves."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query, Request
from starlette.responses import Response

from energy_flow.choices import RunKind, RunState
from service.api.answers import describe_answers
from service.api.dependencies import ExperimentId, ServiceDep
from service.api.pagination import DEFAULT_ITEMS, Limit, make_page, parse_cursor
from service.api.trace_query import TraceQueryDep
from service.api.trace_response import TRACE_ANSWERS, answer_trace
from service.experiments.active_experiment import ActiveExperiment, trial_number
from service.experiments.views import render_trial
from service.json_encoding import JsonAnswer
from service.lifespan import Service
from service.problems import not_found
from service.schemas.experiment import Curves, TrialPage, TrialView
from service.store.tables import RunRow
from service.threads import Threads, in_thread

router = APIRouter(prefix="/v1/experiments", tags=["experiments"])

TrialNumber = Annotated[int, Path(ge=0, le=2**31 - 1)]


@router.get("/{experiment_id}/trials", responses=describe_answers(TrialPage))
async def list_trials(
    experiment_id: ExperimentId,
    service: ServiceDep,
    limit: Limit = DEFAULT_ITEMS,
    cursor: str | None = None,
    state: RunState | None = None,
) -> Response:
    """Return a page of trials, by number."""
    row = await service.experiments.find(experiment_id)
    # Before the trials are read, so that a trial that ends meanwhile is known to both.
    experiment = service.experiments.runner.find(row.experiment_id)
    trials = await in_thread(
        Threads.READS,
        service.experiments.store.trials,
        row.experiment_id,
        first=parse_cursor(cursor) or 0,
        limit=limit + 1,
        states=None if state is None else [state],
    )
    page = make_page(
        trials,
        limit,
        lambda trial: render_trial(trial, experiment),
        lambda _, following: trial_number(following),
    )
    return JsonAnswer(page)


@router.get("/{experiment_id}/trials/{trial}", responses=describe_answers(TrialView))
async def describe_trial(
    experiment_id: ExperimentId, trial: TrialNumber, service: ServiceDep
) -> Response:
    """Return a trial; its results are the run at ``run_url``."""
    row, experiment = await _find_trial(service, experiment_id, trial)
    return JsonAnswer(render_trial(row, experiment))


@router.get(
    "/{experiment_id}/trials/{trial}/trace", response_class=Response, responses=TRACE_ANSWERS
)
async def read_trial_trace(
    experiment_id: ExperimentId,
    trial: TrialNumber,
    request: Request,
    service: ServiceDep,
    query: TraceQueryDep,
) -> Response:
    """Return the trace of a trial as that of its run; of an active trial, its finished chunks."""
    row, _ = await _find_trial(service, experiment_id, trial)
    return await answer_trace(row.run_id, request, service, query)


@router.get("/{experiment_id}/trials/{trial}/curves", responses=describe_answers(Curves))
async def read_curves(
    experiment_id: ExperimentId,
    trial: TrialNumber,
    service: ServiceDep,
    points: Annotated[
        int, Query(ge=1, le=100_000, description="optimiser steps to return, evenly spaced")
    ] = 500,
) -> Response:
    """Return losses, gradients and metrics of a training by step; null where not measured."""
    row, _ = await _find_trial(service, experiment_id, trial)
    if row.kind != RunKind.TRAINING:
        raise not_found(f"curve of trial {trial}: only trials of kind train have curves")

    def read() -> dict[str, list[float | None]]:
        with service.archive.noticing_removal(row.run_id):
            return service.archive.open(row).read_curves(points)

    return JsonAnswer({"curves": await in_thread(Threads.READS, read)})


async def _find_trial(
    service: Service, experiment_id: str, number: int
) -> tuple[RunRow, ActiveExperiment | None]:
    row = await service.experiments.find(experiment_id)
    experiment = service.experiments.runner.find(row.experiment_id)
    trial = await in_thread(
        Threads.READS, service.experiments.store.trial, row.experiment_id, number
    )
    if trial is None:
        raise not_found(f"trial {number} of the experiment {row.name!r}")
    return trial, experiment
