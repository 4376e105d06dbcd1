"""Event logs as server-sent events."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated, Final

from fastapi import Header
from starlette.responses import StreamingResponse

from service.events import Event, EventLog
from service.media_types import EVENT_STREAM
from service.requests.digits import parse_digits

IDLE_SECONDS: Final = 15.0
"""Time without an event after which a comment is sent: proxies close idle connections."""

LastEventId = Annotated[str | None, Header(description="send the events after this one")]


def stream_events(source: EventLog | Event, last_event_id: str | None) -> StreamingResponse:
    """Return an answer with the events of a log as they are appended, or with one event.

    Args:
        source: The log, or the only event.
        last_event_id: Id of the last event that the client has, as its header has it.
    """
    after = parse_digits(last_event_id or "") or 0
    pieces = _encode(source) if isinstance(source, Event) else _follow(source, after)
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingResponse(pieces, media_type=EVENT_STREAM, headers=headers)


async def _follow(log: EventLog, after: int) -> AsyncIterator[bytes]:
    yield b"retry: 1000\n\n"
    async for events in log.follow(after, IDLE_SECONDS):
        yield b"".join(event.to_bytes() for event in events) or b": nothing new\n\n"


async def _encode(event: Event) -> AsyncIterator[bytes]:
    yield event.to_bytes()
