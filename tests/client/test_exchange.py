"""What the client sends and how it reads answers, without a network."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import load, save

from energy_flow.client import (
    NO_RETRY,
    AsyncFlowClient,
    FlowClient,
    NotFound,
    Overloaded,
    ProblemError,
    ResponseTimeout,
    ServerUnavailable,
    ServerUnreachable,
    UnexpectedAnswer,
    Unprocessable,
)
from energy_flow.client.events import EventParser, RunEvent
from energy_flow.client.exchange import parse_retry_after
from tests.client.scripted import ATTEMPTS, QUICK, BrokenStream, Recorder, client_for, problem


def run_document(state: str = "running", **members: Any) -> dict[str, Any]:
    return {
        "run_id": "r1",
        "state": state,
        "model": {"name": "default", "trained": False, "coord_version": 2},
        "seed": 0,
        "created_at": "2025-01-01T00:00:00Z",
        "started_at": None,
        "ended_at": None,
        "progress": {"samples": 2, "samples_done": 0, "step": None, "fraction": 0.0},
        "metrics": None,
        "warnings": [],
        **members,
    }


ESTIMATE = {"flows": 16, "predicted_bytes": 1, "flow_steps_bound": 64, "queue_wait_ms": None}


def sent(request: httpx.Request) -> tuple[NDArray[Any], Any]:
    """The embeddings and the other members of a request."""
    assert request.headers["content-type"] == "application/octet-stream"
    tensors = load(request.content)
    assert set(tensors) == {"embeddings", "request"}
    return tensors["embeddings"], json.loads(tensors["request"].tobytes())


def test_batches_travel_as_the_bytes_they_are() -> None:
    rows = np.random.default_rng(0).normal(size=(64, 384)).astype(np.float16)
    server = Recorder(*(httpx.Response(200, json=ESTIMATE) for _ in range(2)))
    with client_for(server) as client:
        estimate = client.dry_run(rows, outputs=["surface", "hits"])
        client.dry_run([[0.5, 0.25]], options={"noise_std": 0.1})
    first, second = server.requests
    embeddings, members = sent(first)
    assert embeddings.dtype == np.float32
    np.testing.assert_array_equal(embeddings, rows)
    assert members == {"outputs": ["surface", "hits"]}
    assert len(first.content) < rows.size * 4 + 512
    assert dict(first.url.params) == {"dry_run": "true"}
    embeddings, members = sent(second)
    assert embeddings.dtype == np.float64
    assert embeddings.tolist() == [[0.5, 0.25]]
    assert members == {"options": {"noise_std": 0.1}}
    assert estimate.flows == 16
    assert estimate.queue_wait_ms is None


def test_sample_keys_do_not_lengthen_the_address() -> None:
    rows = np.zeros((2000, 16), dtype=np.float32)
    server = Recorder(problem(404))
    with client_for(server) as client, pytest.raises(NotFound):
        client.simulate(rows, sample_keys=range(10**9, 10**9 + 2000))
    assert sent(server.requests[0])[1]["sample_keys"][-1] == 10**9 + 1999
    assert len(str(server.requests[0].url)) < 100


def test_answers_that_are_not_such_tensors_are_told_as_such() -> None:
    headers = {"content-type": "application/octet-stream"}
    said = np.frombuffer(b"[]", dtype=np.uint8)
    server = Recorder(
        *(
            httpx.Response(200, content=body, headers=headers)
            for body in (
                b"",
                b"rubbish",
                save({"surface": np.zeros((1, 2, 2), dtype=np.float32)}),
                save({"answer": said}),
                save({"answer": said[:1]}),
            )
        )
    )
    with client_for(server) as client:
        for _ in range(5):
            with pytest.raises(UnexpectedAnswer):
                client.simulate([[0.0]])


@pytest.mark.parametrize(
    ("embeddings", "said"),
    [
        ([[1.0, 2.0], [3.0]], "one length"),
        ([1.0, 2.0], r"\[2\]"),
        ([["a", "b"]], "numbers"),
        ([[1j]], "numbers"),
    ],
)
def test_what_is_not_rows_of_numbers_is_not_sent(embeddings: Any, said: str) -> None:
    server = Recorder()
    with client_for(server) as client, pytest.raises(ValueError, match=said):
        client.simulate(embeddings)
    assert server.requests == []


def test_a_refusal_carries_the_whole_problem() -> None:
    errors = [{"loc": ["embeddings", 3, 17], "msg": "must be a finite number", "got": "nan"}]
    server = Recorder(problem(422, errors=errors, needed_bytes=5))
    with client_for(server) as client, pytest.raises(Unprocessable) as caught:
        client.system()
    refusal = caught.value
    assert (refusal.status, refusal.title, refusal.detail) == (422, "No", "because")
    assert refusal.errors[0].loc == ("embeddings", 3, 17)
    assert refusal.errors[0].got == "nan"
    assert refusal.extensions == {"needed_bytes": 5}
    assert str(refusal) == "422 No: because; embeddings.3.17: must be a finite number"


def test_a_refusal_from_something_else_is_still_told() -> None:
    server = Recorder(httpx.Response(502, text="<html>bad gateway"))
    with client_for(server) as client, pytest.raises(ProblemError, match=r"502.*bad gateway"):
        client.system()


def test_an_answer_that_is_not_ours_is_told_as_such() -> None:
    server = Recorder(
        httpx.Response(200, text="<html>"),
        httpx.Response(200, json={"state": "queued"}),
        httpx.Response(200, json=[]),
    )
    with client_for(server) as client:
        with pytest.raises(UnexpectedAnswer, match="not JSON"):
            client.system()
        with pytest.raises(UnexpectedAnswer, match="run_id"):
            client.run("r1")
        with pytest.raises(UnexpectedAnswer):
            list(client.runs())


def test_a_busy_server_is_asked_again() -> None:
    server = Recorder(
        problem(429, {"Retry-After": "0"}), problem(503), httpx.Response(200, json={"up": 1})
    )
    with client_for(server) as client:
        assert client.system() == {"up": 1}
    assert len(server.requests) == 3


def test_retries_are_bounded() -> None:
    server = Recorder(*(problem(503) for _ in range(5)))
    with client_for(server) as client, pytest.raises(ServerUnavailable):
        client.system()
    assert len(server.requests) == 1 + ATTEMPTS


def test_retries_can_be_turned_off() -> None:
    server = Recorder(problem(429, {"Retry-After": "7"}))
    with client_for(server, NO_RETRY) as client, pytest.raises(Overloaded) as caught:
        client.system()
    assert caught.value.retry_after == 7


def test_a_server_that_asks_for_too_long_a_wait_is_not_waited_for() -> None:
    server = Recorder(problem(429, {"Retry-After": "3600"}))
    with client_for(server) as client, pytest.raises(Overloaded) as caught:
        client.system()
    assert caught.value.retry_after == 3600


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("3", 3.0),
        ("-1", 0.0),
        ("soon", None),
        ("Wed, 01 Jan 2025 00:00:10 GMT", 10.0),
        ("Tue, 31 Dec 2024 23:59:00 GMT", 0.0),
    ],
)
def test_retry_after_holds_seconds_or_a_date(value: str | None, seconds: float | None) -> None:
    assert parse_retry_after(value, datetime(2025, 1, 1, tzinfo=UTC)) == seconds


def test_a_connection_that_broke_is_tried_again_only_where_that_is_safe() -> None:
    broke = httpx.RemoteProtocolError("server disconnected")
    server = Recorder(broke, httpx.Response(200, json={"up": 1}))
    with client_for(server) as client:
        assert client.system() == {"up": 1}
    server = Recorder(broke, httpx.Response(200, json={}))
    with client_for(server) as client, pytest.raises(ServerUnreachable, match="broke"):
        client.simulate([[0.0]])
    server = Recorder(broke, httpx.Response(202, json=run_document("queued")))
    with client_for(server) as client:
        assert client.submit_run([[0.0]]).state == "queued"
    keys = {request.headers["idempotency-key"] for request in server.requests}
    assert len(server.requests) == 2
    assert len(keys) == 1


def test_nobody_there_is_told_at_once_and_clearly() -> None:
    server = Recorder(httpx.ConnectError("Connection refused"))
    with client_for(server) as client, pytest.raises(ServerUnreachable) as caught:
        client.system()
    assert "http://server" in str(caught.value)
    assert "energy-flow serve" in str(caught.value)
    assert len(server.requests) == 1


def test_probes_answer_yes_or_no() -> None:
    server = Recorder(httpx.Response(200), problem(503), httpx.ConnectError("refused"))
    with client_for(server) as client:
        assert client.ready() is True
        assert client.ready() is False
        assert client.live() is False


def test_waiting_looks_until_the_run_has_ended() -> None:
    server = Recorder(
        httpx.Response(200, json=run_document("queued")),
        httpx.Response(200, json=run_document("running")),
        httpx.Response(200, json=run_document("running")),
        # The server restarts in between.
        httpx.ConnectError("refused"),
        httpx.Response(200, json=run_document("succeeded")),
    )
    states: list[str] = []
    with client_for(server) as client:
        run = client.wait("r1", lambda run: states.append(run.state))
    assert run.state == "succeeded"
    assert states == ["queued", "running", "succeeded"]


def test_waiting_has_a_limit() -> None:
    server = client_for(lambda _: httpx.Response(200, json=run_document()))
    with server as client, pytest.raises(ResponseTimeout, match="still running"):
        client.wait("r1", timeout_seconds=0.1)


def test_a_failed_run_says_why() -> None:
    error = {"title": "Invalid input", "status": 422, "detail": "sample 3 is not finite"}
    server = Recorder(httpx.Response(200, json=run_document("failed", error=error)))
    with client_for(server) as client:
        run = client.run("r1")
    assert isinstance(run.problem, Unprocessable)
    assert "sample 3" in str(run.problem)


def test_lists_are_read_page_by_page() -> None:
    def serve(request: httpx.Request) -> httpx.Response:
        cursor = int(request.url.params.get("cursor", 0))
        items = [run_document(run_id=f"r{cursor}"), run_document(run_id=f"r{cursor + 1}")]
        following = str(cursor + 2) if cursor < 4 else None
        return httpx.Response(200, json={"items": items, "next_cursor": following})

    with client_for(serve) as client:
        assert [run.run_id for run in client.runs(page_size=2)] == [f"r{i}" for i in range(6)]


def test_a_download_that_breaks_leaves_nothing_behind(tmp_path: Path) -> None:
    class Broken(httpx.SyncByteStream):
        def __iter__(self) -> Iterator[bytes]:
            yield b"half"
            raise httpx.ReadError("reset")

    server = Recorder(*(httpx.Response(200, stream=Broken()) for _ in range(3)))
    with client_for(server) as client, pytest.raises(ServerUnreachable):
        client.download_trace("r1", tmp_path / "trace.parquet")
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_cannot_be_fetched_is_not_made(tmp_path: Path) -> None:
    with client_for(Recorder(problem(404))) as client, pytest.raises(NotFound):
        client.download_trace("r1", tmp_path / "trace.parquet")
    assert list(tmp_path.iterdir()) == []


def test_ids_cannot_lead_elsewhere() -> None:
    server = Recorder(problem(404))
    with client_for(server) as client, pytest.raises(NotFound):
        client.run("../models/default?x=1")
    assert server.requests[0].url.raw_path == b"/v1/runs/..%2Fmodels%2Fdefault%3Fx%3D1"


def test_the_key_travels_as_bearer_token() -> None:
    server = Recorder(httpx.Response(200, json={}))
    transport = httpx.MockTransport(server)
    with FlowClient("server:9", api_key="secret", transport=transport) as client:
        client.system()
        assert client.url == "http://server:9"
    assert server.requests[0].headers["authorization"] == "Bearer secret"


@pytest.mark.parametrize("url", ["ftp://server", "http://", "::"])
def test_nonsense_addresses_are_refused(url: str) -> None:
    with pytest.raises(ValueError, match="address"):
        FlowClient(url)


# Events

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
def test_events_are_read_however_the_stream_is_cut(size: int) -> None:
    parser = EventParser()
    chunks = [STREAM[start : start + size] for start in range(0, len(STREAM), size)]
    events = [event for chunk in chunks for event in parser.feed(chunk)]
    assert events == EVENTS
    assert [event.ended for event in events] == [False, False, True]


def event_server() -> Recorder:
    half = STREAM.index(b"id: 2") + 20
    return Recorder(
        httpx.Response(200, stream=BrokenStream(STREAM[:half])),
        httpx.ConnectError("refused"),
        httpx.Response(200, stream=BrokenStream(STREAM[STREAM.index(b"id: 2") :])),
    )


def test_events_go_on_after_a_broken_connection() -> None:
    server = event_server()
    with client_for(server) as client:
        assert list(client.events("r1")) == EVENTS
    resumed = [request.headers.get("last-event-id") for request in server.requests]
    assert resumed == [None, "1", "1"]


def test_events_of_an_unknown_run_are_refused() -> None:
    with client_for(Recorder(problem(404))) as client, pytest.raises(NotFound):
        list(client.events("r1"))


def test_events_give_up_when_the_server_stays_away() -> None:
    server = Recorder(*(httpx.ConnectError("refused") for _ in range(5)))
    with client_for(server) as client, pytest.raises(ServerUnreachable):
        list(client.events("r1"))
    assert len(server.requests) == 1 + ATTEMPTS


def test_the_asynchronous_client_holds_the_same_dialogues() -> None:
    server = event_server()
    later = Recorder(problem(503), httpx.Response(200, json=run_document("succeeded")))

    async def converse() -> tuple[list[RunEvent], str]:
        transport = httpx.MockTransport(server)
        async with AsyncFlowClient("http://server", retry=QUICK, transport=transport) as client:
            events = [event async for event in client.events("r1")]
        transport = httpx.MockTransport(later)
        async with AsyncFlowClient("http://server", retry=QUICK, transport=transport) as client:
            run = await client.wait("r1")
        return events, run.state

    assert asyncio.run(converse()) == (EVENTS, "succeeded")
