"""A run's events as they happen (server-sent events)."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Header
from starlette.responses import Response, StreamingResponse

from service.api.dependencies import ServiceDep
from service.api.find_run import find_run
from service.api.openapi import REFUSALS
from service.api.sse import MEDIA_TYPE, event_schema, event_stream, id_in
from service.events import Event

router = APIRouter(prefix="/v1/runs", tags=["runs"])

_EVENT = event_schema("state", "progress", "step", "gap")


@router.get(
    "/{run_id}/events",
    response_class=StreamingResponse,
    responses={**REFUSALS, 200: {"content": {MEDIA_TYPE: {"schema": _EVENT}}}},
)
async def follow_run(
    run_id: str,
    service: ServiceDep,
    last_event_id: Annotated[str | None, Header(description="resume after this event")] = None,
) -> Response:
    """``state``, ``progress`` and ``step`` events until the run has ended.

    Ids count up by one. A reader who comes late or falls behind gets a ``gap`` event in place of
    what is no longer held.
    """
    live = service.runs.find(run_id)
    if live is None or live.settled:
        # It may have been removed since.
        row = await find_run(service, run_id)
        told = {"run_id": run_id, "state": row.state, "error": row.error}
        last = Event(max(row.last_event_id, 1), "state", told)
    return event_stream(last if live is None else live.events, id_in(last_event_id))
