"""A run's event trace: filtered, in any of its formats, streamed."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from service.api.dependencies import ServiceDep
from service.api.openapi import REFUSALS
from service.api.trace_response import TraceQueryDep, trace_of

router = APIRouter(prefix="/v1/runs", tags=["runs"])


@router.get("/{run_id}/trace", response_class=Response, responses=REFUSALS)
async def read_trace(
    run_id: str, request: Request, service: ServiceDep, query: TraceQueryDep
) -> Response:
    """Records sorted by (sample, seq); of a run that goes on, of the samples that have ended.

    ``Next-Cursor`` goes on after these records, also when more come later; ``Trace-Complete`` says
    whether none will. Of a run that has ended, all of it as Parquet is the stored file: with a
    strong ETag, and in ranges, so that a download can be resumed.
    """
    return await trace_of(run_id, request, service, query)
