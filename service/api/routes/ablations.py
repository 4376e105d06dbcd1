"""Ablations: models measured with parts of their flows switched off."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from service.ablations.plan import make_plan
from service.ablations.views import render_ablation
from service.api.answers import describe_answers
from service.api.bodies import read_body, read_object
from service.api.dependencies import ServiceDep
from service.api.pagination import DEFAULT_ITEMS, Limit, make_page, parse_cursor
from service.api.request_bodies import describe_json_body
from service.json_encoding import JsonAnswer
from service.problems import Problem, with_other_faults
from service.requests.members import check_members
from service.requests.validate import find_option_faults
from service.schemas.ablation import AblationFields, AblationPage, AblationView
from service.threads import Threads, in_thread

router = APIRouter(prefix="/v1/models/{name}/ablations", tags=["ablations"])


@router.post(
    "",
    status_code=202,
    responses=describe_answers(AblationView, statuses=(202,)),
    openapi_extra=describe_json_body(AblationFields),
)
async def start_ablation(name: str, request: Request, service: ServiceDep) -> Response:
    """Queue an ablation: the model as it is, and with parts of its flows switched off."""
    members = await read_object(request, await read_body(request))
    fields, faults = check_members(AblationFields, members)
    config = service.models.find(name).config
    try:
        dataset = await in_thread(Threads.READS, service.datasets.find, fields.dataset)
    except Problem as absent:
        faults += find_option_faults(config, fields.options)
        raise with_other_faults(absent, "dataset", faults) from None
    model = await service.models.ready(name)
    plan = make_plan(
        fields,
        faults,
        model,
        dataset,
        service.settings.max_samples,
        service.models.find_fitting,
    )
    answer = render_ablation(service.ablations.start(plan))
    return JsonAnswer(answer, status_code=202, headers={"Location": answer["url"]})


@router.get("", responses=describe_answers(AblationPage))
async def list_ablations(
    name: str, service: ServiceDep, limit: Limit = DEFAULT_ITEMS, cursor: str | None = None
) -> Response:
    """Return a page of the ablations of a model that the server still keeps, newest first.

    Those of an earlier model of the same name, with other weights, are left out.
    """
    ablations = service.ablations.newest_first(service.models.find(name))
    before = parse_cursor(cursor)
    if before is not None:
        ablations = [one for one in ablations if one.position < before]
    return JsonAnswer(make_page(ablations, limit, render_ablation, lambda last, _: last.position))


@router.get("/{ablation_id}", responses=describe_answers(AblationView))
async def describe_ablation(name: str, ablation_id: str, service: ServiceDep) -> Response:
    """Return the state and progress of an ablation, and its result once it has succeeded."""
    return JsonAnswer(render_ablation(service.ablations.find(name, ablation_id)))


@router.delete(
    "/{ablation_id}",
    responses={**describe_answers(AblationView), 204: {"description": "It had ended; removed"}},
)
async def delete_ablation(name: str, ablation_id: str, service: ServiceDep) -> Response:
    """Cancel an ablation that has not ended, within a step; remove one that has ended."""
    ablation = service.ablations.find(name, ablation_id)
    if ablation.is_ended:
        service.ablations.remove(ablation)
        return Response(status_code=204)
    ablation.cancel()
    return JsonAnswer(render_ablation(ablation))
