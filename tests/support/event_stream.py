"""Events of a run or an experiment, read from a server."""

from __future__ import annotations

from collections.abc import Callable

import httpx

from energy_flow.client.events import EventParser, RunEvent


def read_events(
    client: httpx.Client,
    path: str,
    after: str | int | None = None,
    stop_after: int = 10**9,
    on_event: Callable[[RunEvent], object] | None = None,
) -> list[RunEvent]:
    """Read events until the stream ends, or there are enough.

    Args:
        client: client of the server.
        path: of the run or experiment.
        after: id of the last event that is not read again.
        stop_after: most events.
        on_event: called with each event when it arrives.
    """
    headers = {} if after is None else {"last-event-id": str(after)}
    parser = EventParser()
    found: list[RunEvent] = []
    with client.stream("GET", f"{path}/events", headers=headers) as stream:
        assert stream.status_code == 200
        assert stream.headers["content-type"].startswith("text/event-stream")
        for piece in stream.iter_bytes():
            for event in parser.feed(piece):
                found.append(event)
                if on_event is not None:
                    on_event(event)
                if len(found) >= stop_after:
                    return found
    return found
