"""The event trace of a run."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from service.api.answers import describe_answers
from service.api.dependencies import ServiceDep
from service.api.find_run import RunId
from service.api.trace_query import TraceQueryDep, TraceSelectionDep
from service.api.trace_response import TRACE_ANSWERS, answer_trace, count_trace
from service.json_encoding import JsonAnswer
from service.schemas.trace import TraceCountsAnswer

router = APIRouter(prefix="/v1/runs", tags=["runs"])


@router.get("/{run_id}/trace", response_class=Response, responses=TRACE_ANSWERS)
async def read_trace(
    run_id: RunId, request: Request, service: ServiceDep, query: TraceQueryDep
) -> Response:
    """Return records sorted by (sample, seq); of an active run, those of its ended samples.

    ``Next-Cursor`` continues after these records, also with records that are stored later;
    ``Trace-Complete`` is true if none will be. The whole trace of an ended run as Parquet is the
    stored file: it has a strong ETag and can be read in ranges, to resume a download.
    """
    return await answer_trace(run_id, request, service, query)


@router.get("/{run_id}/trace/counts", responses=describe_answers(TraceCountsAnswer))
async def count_records(run_id: RunId, service: ServiceDep, query: TraceSelectionDep) -> Response:
    """Return how many records there are of each step and kind; of an active run, so far."""
    return JsonAnswer(await count_trace(run_id, service, query))
