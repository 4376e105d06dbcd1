"""Experiments as a resource, and their events."""

from __future__ import annotations

from typing import Any, Final

from fastapi import APIRouter, Request
from starlette.responses import Response, StreamingResponse

from energy_flow.choices import ENDED_STATES, EventName, ExperimentKind
from service.api.answers import REFUSALS, describe_answers, describe_events
from service.api.bodies import read_body, read_labels, read_object
from service.api.deletion import choose, delete_each, make_filter
from service.api.dependencies import ExperimentId, ServiceDep, read_idempotency_key
from service.api.list_query import ListQueryDep, render_page
from service.api.request_bodies import describe_json_body
from service.api.sse import LastEventId, stream_events
from service.experiments.plan import Plan, find_faults_without_data, make_plan
from service.json_encoding import JsonAnswer
from service.lifespan import Service
from service.problems import Problem, invalid, with_other_faults
from service.requests.members import check_members, parse_members
from service.schemas.bodies import AnswerBody
from service.schemas.experiment import (
    ExperimentFields,
    ExperimentPage,
    ExperimentProgressEvent,
    ExperimentStateEvent,
    ExperimentView,
    TrialView,
)
from service.schemas.labels import NoteFields
from service.schemas.list_filter import DeletionAnswer, ExperimentDeletionFields
from service.schemas.run import GapEvent
from service.threads import Threads, in_thread

router = APIRouter(prefix="/v1/experiments", tags=["experiments"])


_PAYLOADS: Final[dict[EventName, type[AnswerBody]]] = {
    EventName.STATE: ExperimentStateEvent,
    EventName.TRIAL: TrialView,
    EventName.PROGRESS: ExperimentProgressEvent,
    EventName.GAP: GapEvent,
}


@router.post(
    "",
    status_code=201,
    responses=describe_answers(ExperimentView, statuses=(201,)),
    openapi_extra=describe_json_body(ExperimentFields),
)
async def create_experiment(request: Request, service: ServiceDep) -> Response:
    """Store an experiment durably, and execute it when its turn comes.

    Its name must be new. A repetition with the same Idempotency-Key creates nothing.
    """
    body = await read_body(request)
    members = await read_object(request, body)
    key = await read_idempotency_key(request, body)
    plan = await _make_plan(service, members)
    row, is_repetition = await service.experiments.create(plan, key)
    answer = service.experiments.answer(row)
    headers = {"Location": answer["url"]}
    if is_repetition:
        headers["Idempotency-Replayed"] = "true"
    return JsonAnswer(answer, status_code=201, headers=headers)


@router.get("", responses=describe_answers(ExperimentPage))
async def list_experiments(
    service: ServiceDep, query: ListQueryDep, kind: ExperimentKind | None = None
) -> Response:
    """Return a page of experiments, newest first unless they are sorted otherwise."""
    sort, place = query.parse_sort(), query.parse_place()
    chosen = query.make_filter(None if kind is None else [kind])
    experiments = service.experiments
    page = await in_thread(Threads.READS, experiments.store.page, chosen, sort, place, query.limit)
    return JsonAnswer(render_page(page, sort, experiments.answer))


@router.get("/{experiment_id}", responses=describe_answers(ExperimentView))
async def describe_experiment(experiment_id: ExperimentId, service: ServiceDep) -> Response:
    """Return the state, the trials in each state, the progress, and the remaining time."""
    return JsonAnswer(service.experiments.answer(await service.experiments.find(experiment_id)))


@router.patch(
    "/{experiment_id}",
    responses=describe_answers(ExperimentView),
    openapi_extra=describe_json_body(NoteFields),
)
async def relabel_experiment(
    experiment_id: ExperimentId, request: Request, service: ServiceDep
) -> Response:
    """Change tags or note of an experiment, in any state; members that are absent stay."""
    labels = await read_labels(request, NoteFields)
    row = await service.experiments.find(experiment_id)
    return JsonAnswer(service.experiments.answer(await service.experiments.relabel(row, **labels)))


@router.delete("/{experiment_id}", status_code=204, responses=REFUSALS)
async def delete_experiment(experiment_id: ExperimentId, service: ServiceDep) -> Response:
    """Remove an experiment that has ended, with its trials and all their files."""
    await service.experiments.delete(await service.experiments.find(experiment_id))
    return Response(status_code=204)


@router.post(
    ":delete",
    responses=describe_answers(DeletionAnswer),
    openapi_extra=describe_json_body(ExperimentDeletionFields),
)
async def delete_experiments(request: Request, service: ServiceDep) -> Response:
    """Remove several experiments that have ended; answer which were removed, and which not."""
    members = await read_object(request, await read_body(request))
    fields = parse_members(ExperimentDeletionFields, members)
    chosen = None
    if fields.filter is not None:
        kind = fields.filter.kind
        chosen = make_filter(fields.filter, None if kind is None else [kind])
    ids = await choose(fields, chosen, service.experiments.store.find_ids)

    async def delete(id_or_name: str) -> None:
        await service.experiments.delete(await service.experiments.find(id_or_name))

    return JsonAnswer(await delete_each(ids, delete))


@router.post("/{experiment_id}/pause", responses=describe_answers(ExperimentView))
async def pause_experiment(experiment_id: ExperimentId, service: ServiceDep) -> Response:
    """Finish the chunks that are running and start no others."""
    row = await service.experiments.find(experiment_id)
    return JsonAnswer(service.experiments.answer(await service.experiments.pause(row)))


@router.post("/{experiment_id}/resume", responses=describe_answers(ExperimentView))
async def resume_experiment(experiment_id: ExperimentId, service: ServiceDep) -> Response:
    """Continue with the remaining chunks."""
    row = await service.experiments.find(experiment_id)
    return JsonAnswer(service.experiments.answer(await service.experiments.resume(row)))


@router.post("/{experiment_id}/retry", responses=describe_answers(ExperimentView))
async def retry_experiment(experiment_id: ExperimentId, service: ServiceDep) -> Response:
    """Start the trials of a failed experiment again that did not succeed."""
    row = await service.experiments.find(experiment_id)
    return JsonAnswer(service.experiments.answer(await service.experiments.retry(row)))


@router.post(
    "/{experiment_id}/cancel", responses=describe_answers(ExperimentView, statuses=(200, 202))
)
async def cancel_experiment(experiment_id: ExperimentId, service: ServiceDep) -> Response:
    """End an experiment within a step, and keep its results; 202 if that takes longer."""
    row = await service.experiments.find(experiment_id)
    row = await service.experiments.cancel(row)
    status = 200 if row.state in ENDED_STATES else 202
    return JsonAnswer(service.experiments.answer(row), status_code=status)


@router.get(
    "/{experiment_id}/events",
    response_class=StreamingResponse,
    responses=describe_events(_PAYLOADS),
)
async def follow_experiment(
    experiment_id: ExperimentId, service: ServiceDep, last_event_id: LastEventId = None
) -> Response:
    """Send ``state``, ``trial`` and ``progress`` events until the experiment has ended.

    A reader that connects late, falls behind, or was connected before the server restarted gets a
    ``gap`` event in place of events that are no longer held.
    """
    row = await service.experiments.find(experiment_id)
    return stream_events(service.experiments.runner.events(row), last_event_id)


async def _make_plan(service: Service, members: dict[str, Any]) -> Plan:
    fields, faults = check_members(ExperimentFields, members)
    faulty = {fault.loc[:1] for fault in faults}
    if ("model",) in faulty or ("dataset",) in faulty:
        raise invalid(faults)
    try:
        model = service.models.find(fields.model)
    except Problem as absent:
        raise with_other_faults(absent, "model", faults) from None
    try:
        dataset = await in_thread(Threads.READS, service.datasets.find, fields.dataset)
    except Problem as absent:
        faults += find_faults_without_data(fields, model.config)
        raise with_other_faults(absent, "dataset", faults) from None
    return await in_thread(
        Threads.BODIES,
        make_plan,
        fields,
        faults,
        model,
        dataset,
        lambda config, samples: service.executor.check(
            config, samples, streams=True, model=model.digest, base=model.config
        ),
        service.settings.max_samples,
        service.models.find_fitting,
    )
