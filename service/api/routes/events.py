"""The events of a run as server-sent events."""

from __future__ import annotations

from typing import Final

from fastapi import APIRouter
from starlette.responses import Response, StreamingResponse

from energy_flow.choices import EventName
from service.api.answers import describe_events
from service.api.dependencies import ServiceDep
from service.api.find_run import RunId, find_run
from service.api.sse import LastEventId, stream_events
from service.events import Event
from service.schemas.bodies import AnswerBody
from service.schemas.metrics import StepMetrics
from service.schemas.run import GapEvent, Progress, RunStateEvent

router = APIRouter(prefix="/v1/runs", tags=["runs"])

_PAYLOADS: Final[dict[EventName, type[AnswerBody]]] = {
    EventName.STATE: RunStateEvent,
    EventName.PROGRESS: Progress,
    EventName.STEP: StepMetrics,
    EventName.GAP: GapEvent,
}


@router.get(
    "/{run_id}/events", response_class=StreamingResponse, responses=describe_events(_PAYLOADS)
)
async def follow_run(
    run_id: RunId, service: ServiceDep, last_event_id: LastEventId = None
) -> Response:
    """Send ``state``, ``progress`` and ``step`` events until the run has ended.

    Consecutive events have consecutive ids. A reader that connects late or falls behind gets a
    ``gap`` event in place of events that are no longer held.
    """
    run = service.runs.find(run_id)
    if run is not None and not run.is_finalized:
        return stream_events(run.events, last_event_id)
    # A finalized run may have been removed.
    row = await find_run(service, run_id)
    if run is not None:
        return stream_events(run.events, last_event_id)
    payload = {"run_id": run_id, "state": row.state, "error": row.error}
    last_event = Event(max(row.last_event_id, 1), EventName.STATE, payload)
    return stream_events(last_event, last_event_id)
