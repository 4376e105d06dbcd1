"""Finished runs again: a sample replayed, two runs compared."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from service.api.answers import describe_answers
from service.api.bodies import read_body, read_object
from service.api.dependencies import ServiceDep
from service.api.find_run import OtherRunId, RunId, find_ended_run
from service.api.request_bodies import describe_json_body
from service.json_encoding import JsonAnswer
from service.requests.members import parse_members
from service.runs.comparison import Side, render_comparison
from service.schemas.comparison import ComparisonAnswer
from service.schemas.replay import ReplayAnswer, ReplayFields
from service.threads import Threads, in_thread

router = APIRouter(prefix="/v1/runs", tags=["runs"])


@router.post(
    "/{run_id}/replay",
    responses=describe_answers(ReplayAnswer),
    openapi_extra=describe_json_body(ReplayFields),
)
async def replay_sample(run_id: RunId, request: Request, service: ServiceDep) -> Response:
    """Simulate one sample again and return the path of every flow, or of one flow's lineage.

    ``agrees`` is true if the replay equals the run, record for record; otherwise ``difference`` is
    the first record that differs, or ``note`` states that the server has another arithmetic.
    """
    fields = parse_members(ReplayFields, await read_object(request, await read_body(request)))
    row = await find_ended_run(service, run_id)
    return JsonAnswer(await service.replays.replay(row, fields.sample, fields.flow))


@router.get("/{run_id}/compare/{other}", responses=describe_answers(ComparisonAnswer))
async def compare_runs(run_id: RunId, other: OtherRunId, service: ServiceDep) -> Response:
    """Compare the metrics, surfaces and traces of two runs.

    ``note`` states the arithmetics of both runs if they are not the same.
    """
    rows = [await find_ended_run(service, one) for one in (run_id, other)]

    def compare() -> bytes:
        archive = service.archive
        with archive.noticing_removal(run_id), archive.noticing_removal(other):
            a, b = (Side(row, archive.open(row)) for row in rows)
            return render_comparison(a, b)

    return JsonAnswer(await in_thread(Threads.READS, compare))
