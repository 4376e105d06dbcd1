"""A run's events as they happen (server-sent events)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Header
from starlette.responses import Response, StreamingResponse

from service.dependencies import ServiceDep
from service.event_log import Event, EventLog
from service.openapi import REFUSALS
from service.routes.runs import find_run

router = APIRouter(prefix="/v1/runs", tags=["runs"])

MEDIA_TYPE = "text/event-stream"

_EVENT = {
    "type": "object",
    "properties": {
        "id": {"type": "string", "description": "counts up by one"},
        "event": {"enum": ["state", "progress", "step", "gap"]},
        "data": {"type": "string", "contentMediaType": "application/json"},
        "retry": {"type": "string"},
    },
}

# Proxies close connections on which nothing comes.
IDLE_SECONDS = 15.0


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
    after = int(last_event_id) if last_event_id and last_event_id.isdecimal() else 0
    live = service.runs.find(run_id)
    if live is None or live.settled:
        # It may have been removed since.
        row = await find_run(service, run_id)
        told = {"run_id": run_id, "state": row.state, "error": row.error}
        last = Event(max(row.last_event_id, 1), "state", told)
    stream = _once(last) if live is None else _follow(live.events, after)
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingResponse(stream, media_type=MEDIA_TYPE, headers=headers)


async def _follow(log: EventLog, after: int) -> AsyncIterator[bytes]:
    yield b"retry: 1000\n\n"
    async for events in log.follow(after, IDLE_SECONDS):
        yield b"".join(event.to_bytes() for event in events) or b": nothing new\n\n"


async def _once(event: Event) -> AsyncIterator[bytes]:
    yield event.to_bytes()
