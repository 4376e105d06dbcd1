"""Looking back at runs: a sample replayed, two runs side by side."""

from __future__ import annotations

import asyncio
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from service.api.dependencies import ServiceDep, read_body, read_object
from service.api.find_run import find_ended_run
from service.api.openapi import REFUSALS
from service.json_encoding import JsonAnswer
from service.problems import invalid, not_found
from service.requests.validate import JSON, validate
from service.runs.comparison import Side, comparison_answer
from service.schemas import ReplayFields

router = APIRouter(prefix="/v1/runs", tags=["runs"])

_BODY = {
    "requestBody": {
        "required": True,
        "content": {JSON: {"schema": ReplayFields.model_json_schema()}},
    }
}


@router.post(
    "/{run_id}/replay",
    response_model=dict[str, Any],
    responses=REFUSALS,
    openapi_extra=_BODY,
)
async def replay_sample(run_id: str, request: Request, service: ServiceDep) -> Response:
    """Simulates one sample again: the path of every flow, or of one with its kin, step by step.

    ``agrees`` says whether the replay equals what the run did, record for record; ``difference`` is
    the first record at which it does not.
    """
    body = await read_body(request)
    fields, faults = validate(ReplayFields, await read_object(request, body))
    if faults:
        raise invalid(faults)
    row = await find_ended_run(service, run_id)
    return JsonAnswer(await service.replays.replay(row, fields.sample, fields.flow))


@router.get("/{run_id}/compare/{other}", response_model=dict[str, Any], responses=REFUSALS)
async def compare_runs(run_id: str, other: str, service: ServiceDep) -> Response:
    """Two runs: metrics, the difference of the surfaces, the first record where traces part."""
    rows = [await find_ended_run(service, one) for one in (run_id, other)]
    a, b = (Side(row, service.archive.folder(row.run_id)) for row in rows)
    try:
        return JsonAnswer(await asyncio.to_thread(comparison_answer, a, b))
    except FileNotFoundError:
        raise not_found(f"run {run_id!r} or run {other!r}") from None
