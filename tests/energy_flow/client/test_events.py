"""Streams of events, parsed and continued after broken connections."""

from __future__ import annotations

import asyncio

import httpx
import pytest

from energy_flow.client import NotFound, ServerUnreachable
from energy_flow.client.events import EventParser, RunEvent
from energy_flow.testing import (
    QUICK_RETRY,
    BrokenStream,
    ScriptedServer,
    problem_answer,
    run_document,
)

STREAM = (
    b": hello\r\n\r\n"
    b'id: 1\r\nevent: state\r\ndata: {"state": "running"}\r\n\r\n'
    b'id: 2\nevent: step\ndata: {"text":\ndata: "\xe2\x80\xa8"}\n\n'
    b'id: 3\revent: state\rdata: {"state": "succeeded"}\r\r\n'
)
EVENTS = [
    RunEvent("1", "state", {"state": "running"}),
    RunEvent("2", "step", {"text": "\u2028"}),
    RunEvent("3", "state", {"state": "succeeded"}),
]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_events_are_parsed_wherever_the_stream_is_cut(size: int) -> None:
    parser = EventParser()
    chunks = [STREAM[start : start + size] for start in range(0, len(STREAM), size)]
    events = [event for chunk in chunks for event in parser.feed(chunk)]
    assert events == EVENTS
    assert [event.ended for event in events] == [False, False, True]


def event_server() -> ScriptedServer:
    half = STREAM.index(b"id: 2") + 20
    return ScriptedServer(
        httpx.Response(200, stream=BrokenStream(STREAM[:half])),
        httpx.ConnectError("refused"),
        httpx.Response(200, stream=BrokenStream(STREAM[STREAM.index(b"id: 2") :])),
    )


def test_events_continue_after_a_broken_connection() -> None:
    server = event_server()
    with server.client() as client:
        assert list(client.events("r1")) == EVENTS
    resumed = [request.headers.get("last-event-id") for request in server.requests]
    assert resumed == [None, "1", "1"]


def test_events_of_an_unknown_run_are_refused() -> None:
    with ScriptedServer(problem_answer(404)).client() as client, pytest.raises(NotFound):
        list(client.events("r1"))


def test_events_end_after_the_last_retry() -> None:
    server = ScriptedServer(*(httpx.ConnectError("refused") for _ in range(5)))
    with server.client() as client, pytest.raises(ServerUnreachable):
        list(client.events("r1"))
    assert len(server.requests) - 1 == QUICK_RETRY.attempts


def test_the_asynchronous_client_does_the_same() -> None:
    server = event_server()
    later = ScriptedServer(problem_answer(503), httpx.Response(200, json=run_document("succeeded")))

    async def use() -> tuple[list[RunEvent], str]:
        async with server.async_client() as client:
            events = [event async for event in client.events("r1")]
        async with later.async_client() as client:
            run = await client.wait("r1")
        return events, run.state

    assert asyncio.run(use()) == (EVENTS, "succeeded")
