"""Events as they happen: an event log as server-sent events."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from starlette.responses import StreamingResponse

from service.events import Event, EventLog

MEDIA_TYPE = "text/event-stream"

# Proxies close connections on which nothing comes.
IDLE_SECONDS = 15.0


def event_schema(*names: str) -> dict[str, Any]:
    """An event of a stream, as OpenAPI shows it."""
    return {
        "type": "object",
        "properties": {
            "id": {"type": "string", "description": "counts up by one"},
            "event": {"enum": list(names)},
            "data": {"type": "string", "contentMediaType": "application/json"},
            "retry": {"type": "string"},
        },
    }


def id_in(header: str | None) -> int:
    """The event after which a reader goes on, by its ``Last-Event-ID``; 0 is the beginning."""
    return int(header) if header and header.isdecimal() else 0


def event_stream(source: EventLog | Event, after: int) -> StreamingResponse:
    """The events of a log after one, as they come; or the one event that there is."""
    pieces = _once(source) if isinstance(source, Event) else _follow(source, after)
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingResponse(pieces, media_type=MEDIA_TYPE, headers=headers)


async def _follow(log: EventLog, after: int) -> AsyncIterator[bytes]:
    yield b"retry: 1000\n\n"
    async for events in log.follow(after, IDLE_SECONDS):
        yield b"".join(event.to_bytes() for event in events) or b": nothing new\n\n"


async def _once(event: Event) -> AsyncIterator[bytes]:
    yield event.to_bytes()
