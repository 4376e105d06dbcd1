"""What the client sends and how it reads answers, without a network."""

from __future__ import annotations

import json
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
from energy_flow.client.exchange import parse_retry_after
from energy_flow.testing import (
    QUICK_RETRY,
    BrokenStream,
    FakeFlowServer,
    InProcessServer,
    ScriptedServer,
    problem_answer,
    run_document,
)

ESTIMATE = {"flows": 16, "predicted_bytes": 1, "flow_steps_bound": 64, "queue_wait_ms": None}


def sent(request: httpx.Request) -> tuple[NDArray[Any], Any]:
    """Return the embeddings and the other members of a request."""
    assert request.headers["content-type"] == "application/octet-stream"
    tensors = load(request.content)
    assert set(tensors) == {"embeddings", "request"}
    return tensors["embeddings"], json.loads(tensors["request"].tobytes())


def test_embeddings_are_sent_as_bytes() -> None:
    rows = np.random.default_rng(0).normal(size=(64, 384)).astype(np.float16)
    server = ScriptedServer(*(httpx.Response(200, json=ESTIMATE) for _ in range(2)))
    with server.client() as client:
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


def test_sample_keys_are_in_the_body_not_in_the_address() -> None:
    rows = np.zeros((2000, 16), dtype=np.float32)
    server = ScriptedServer(problem_answer(404))
    with server.client() as client, pytest.raises(NotFound):
        client.simulate(rows, sample_keys=range(10**9, 10**9 + 2000))
    assert sent(server.requests[0])[1]["sample_keys"][-1] == 10**9 + 1999
    assert len(str(server.requests[0].url)) < 100


def test_tensors_that_cannot_be_read_are_refused() -> None:
    headers = {"content-type": "application/octet-stream"}
    answer = np.frombuffer(b"[]", dtype=np.uint8)
    server = ScriptedServer(
        *(
            httpx.Response(200, content=body, headers=headers)
            for body in (
                b"",
                b"rubbish",
                save({"surface": np.zeros((1, 2, 2), dtype=np.float32)}),
                save({"answer": answer}),
                save({"answer": answer[:1]}),
            )
        )
    )
    with server.client() as client:
        for _ in range(5):
            with pytest.raises(UnexpectedAnswer):
                client.simulate([[0.0]])


@pytest.mark.parametrize(
    ("embeddings", "message"),
    [
        ([[1.0, 2.0], [3.0]], "one length"),
        ([1.0, 2.0], r"\[2\]"),
        ([["a", "b"]], "must be a number"),
        ([[1j]], "must be a number"),
    ],
)
def test_embeddings_that_are_not_rows_of_numbers_are_not_sent(
    embeddings: Any, message: str
) -> None:
    server = ScriptedServer()
    with server.client() as client, pytest.raises(ValueError, match=message):
        client.simulate(embeddings)
    assert server.requests == []


def test_a_refusal_has_the_whole_problem() -> None:
    errors = [{"loc": ["embeddings", 3, 17], "msg": "must be a finite number", "got": "nan"}]
    server = ScriptedServer(problem_answer(422, detail="because", errors=errors, needed_bytes=5))
    with server.client() as client, pytest.raises(Unprocessable) as caught:
        client.system()
    refusal = caught.value
    assert (refusal.status, refusal.title, refusal.detail) == (
        422,
        "Unprocessable Entity",
        "because",
    )
    assert refusal.errors[0].loc == ("embeddings", 3, 17)
    assert refusal.errors[0].got == "nan"
    assert refusal.extensions == {"needed_bytes": 5}
    assert (
        str(refusal)
        == "422 Unprocessable Entity: because; embeddings.3.17: must be a finite number"
    )


def test_a_refusal_that_is_no_problem_document_is_reported() -> None:
    server = ScriptedServer(httpx.Response(502, text="<html>bad gateway"))
    with server.client() as client, pytest.raises(ProblemError, match=r"502.*bad gateway"):
        client.system()


def test_an_answer_of_another_server_is_refused() -> None:
    server = ScriptedServer(
        httpx.Response(200, text="<html>"),
        httpx.Response(200, json={"state": "queued"}),
        httpx.Response(200, json=[]),
    )
    with server.client() as client:
        with pytest.raises(UnexpectedAnswer, match="not JSON"):
            client.system()
        with pytest.raises(UnexpectedAnswer, match="run_id"):
            client.run("r1")
        with pytest.raises(UnexpectedAnswer):
            list(client.runs())


@pytest.mark.parametrize(
    ("members", "place"),
    [
        ({"seed": None}, r"\$\.seed"),
        ({"seed": "many"}, r"\$\.seed"),
        ({"warnings": "none"}, r"\$\.warnings"),
        ({"progress": {"samples": 2}}, r"samples_done.*\$\.progress"),
        ({"progress": None}, r"\$\.progress"),
    ],
)
def test_a_member_of_another_type_is_named(members: dict[str, Any], place: str) -> None:
    server = ScriptedServer(httpx.Response(200, json=run_document(**members)))
    with server.client() as client, pytest.raises(UnexpectedAnswer, match=place):
        client.run("r1")


def test_the_run_of_a_training_has_no_metrics_of_a_simulation() -> None:
    document = run_document("succeeded", kind="training", metrics={"step": 3, "loss": 0.7})
    page = {"items": [document], "next_cursor": None}
    with ScriptedServer(httpx.Response(200, json=page)).client() as client:
        (run,) = client.runs()
    assert run.metrics is None
    assert run.data["metrics"] == {"step": 3, "loss": 0.7}


def test_members_that_only_a_newer_server_has_are_ignored() -> None:
    progress = {"samples": 2, "samples_done": 0, "step": None, "fraction": 0, "speed": 3}
    document = run_document("resting", progress=progress, colour="red")
    with ScriptedServer(httpx.Response(200, json=document)).client() as client:
        run = client.run("r1")
    assert run.state == "resting"
    assert run.progress.samples == 2
    assert run.data == document


def test_requests_are_repeated_while_the_server_is_busy() -> None:
    server = ScriptedServer(
        problem_answer(429, {"Retry-After": "0"}),
        problem_answer(503),
        httpx.Response(200, json={"up": 1}),
    )
    with server.client() as client:
        assert client.system() == {"up": 1}
    assert len(server.requests) == 3


def test_retries_are_bounded() -> None:
    server = ScriptedServer(*(problem_answer(503) for _ in range(5)))
    with server.client() as client, pytest.raises(ServerUnavailable):
        client.system()
    assert len(server.requests) - 1 == QUICK_RETRY.attempts


def test_retries_can_be_disabled() -> None:
    server = ScriptedServer(problem_answer(429, {"Retry-After": "7"}))
    with server.client(NO_RETRY) as client, pytest.raises(Overloaded) as caught:
        client.system()
    assert caught.value.retry_after == 7


def test_a_wait_longer_than_the_longest_is_refused() -> None:
    server = ScriptedServer(problem_answer(429, {"Retry-After": "3600"}))
    with server.client() as client, pytest.raises(Overloaded) as caught:
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


def test_a_request_is_repeated_after_a_broken_connection_only_where_that_is_safe() -> None:
    broke = httpx.RemoteProtocolError("server disconnected")
    server = ScriptedServer(broke, httpx.Response(200, json={"up": 1}))
    with server.client() as client:
        assert client.system() == {"up": 1}
    server = ScriptedServer(broke, httpx.Response(200, json={}))
    with server.client() as client, pytest.raises(ServerUnreachable, match="broke"):
        client.simulate([[0.0]])
    server = ScriptedServer(broke, httpx.Response(202, json=run_document("queued")))
    with server.client() as client:
        assert client.submit_run([[0.0]]).state == "queued"
    keys = {request.headers["idempotency-key"] for request in server.requests}
    assert len(server.requests) == 2
    assert len(keys) == 1


def test_an_unreachable_server_is_reported_at_once() -> None:
    server = ScriptedServer(httpx.ConnectError("Connection refused"))
    with server.client() as client, pytest.raises(ServerUnreachable) as caught:
        client.system()
    assert "http://server" in str(caught.value)
    assert "energy-flow serve" in str(caught.value)
    assert len(server.requests) == 1


def test_probes_return_whether_the_server_is_up() -> None:
    server = ScriptedServer(httpx.Response(200), problem_answer(503), httpx.ConnectError("refused"))
    with server.client() as client:
        assert client.ready() is True
        assert client.ready() is False
        assert client.live() is False


def test_wait_polls_until_the_run_has_ended() -> None:
    server = ScriptedServer(
        httpx.Response(200, json=run_document("queued")),
        httpx.Response(200, json=run_document("running")),
        httpx.Response(200, json=run_document("running")),
        # The server restarts in between.
        httpx.ConnectError("refused"),
        httpx.Response(200, json=run_document("succeeded")),
    )
    states: list[str] = []
    with server.client() as client:
        run = client.wait("r1", lambda run: states.append(run.state))
    assert run.state == "succeeded"
    assert states == ["queued", "running", "succeeded"]


def test_wait_has_a_time_limit() -> None:
    with FakeFlowServer(states=["running"]).client() as client:
        run = client.submit_run([[0.0]])
        with pytest.raises(ResponseTimeout, match="still running"):
            client.wait(run.run_id, timeout_seconds=0.1)


def test_wait_until_ready_polls_until_the_server_is_up() -> None:
    server = ScriptedServer(httpx.ConnectError("refused"), problem_answer(503), httpx.Response(200))
    with server.client() as client:
        client.wait_until_ready()
    assert [request.url.path for request in server.requests] == ["/readyz"] * 3


@pytest.mark.parametrize(
    ("answer", "message"),
    [(problem_answer(503), "not ready"), (httpx.ConnectError("refused"), "no server answers")],
)
def test_wait_until_ready_has_a_time_limit(
    answer: httpx.Response | httpx.HTTPError, message: str
) -> None:
    server = ScriptedServer(*[answer] * 100)
    with server.client() as client, pytest.raises(ResponseTimeout, match=message):
        client.wait_until_ready(0.1)


def test_a_failed_run_has_a_problem() -> None:
    error = {"title": "Invalid input", "status": 422, "detail": "sample 3 is not finite"}
    server = ScriptedServer(httpx.Response(200, json=run_document("failed", error=error)))
    with server.client() as client:
        run = client.run("r1")
    assert isinstance(run.problem, Unprocessable)
    assert "sample 3" in str(run.problem)


def test_lists_are_read_page_by_page() -> None:
    def serve(request: httpx.Request) -> httpx.Response:
        cursor = int(request.url.params.get("cursor", 0))
        items = [run_document(run_id=f"r{cursor}"), run_document(run_id=f"r{cursor + 1}")]
        following = str(cursor + 2) if cursor < 4 else None
        return httpx.Response(200, json={"items": items, "next_cursor": following})

    with InProcessServer(serve).client() as client:
        assert [run.run_id for run in client.runs(page_size=2)] == [f"r{i}" for i in range(6)]


def test_a_broken_download_leaves_no_file(tmp_path: Path) -> None:
    server = ScriptedServer(*(httpx.Response(200, stream=BrokenStream(b"half")) for _ in range(3)))
    with server.client() as client, pytest.raises(ServerUnreachable):
        client.download_trace("r1", tmp_path / "trace.parquet")
    assert list(tmp_path.iterdir()) == []


def test_a_refused_download_leaves_no_file(tmp_path: Path) -> None:
    with ScriptedServer(problem_answer(404)).client() as client, pytest.raises(NotFound):
        client.download_trace("r1", tmp_path / "trace.parquet")
    assert list(tmp_path.iterdir()) == []


def test_ids_are_quoted_in_the_path() -> None:
    server = ScriptedServer(problem_answer(404))
    with server.client() as client, pytest.raises(NotFound):
        client.run("../models/default?x=1")
    assert server.requests[0].url.raw_path == b"/v1/runs/..%2Fmodels%2Fdefault%3Fx%3D1"


def test_the_key_is_sent_as_bearer_token() -> None:
    server = ScriptedServer(httpx.Response(200, json={}))
    with FlowClient("server:9", api_key="secret", transport=server.transport) as client:
        client.system()
        assert client.url == "http://server:9"
    assert server.requests[0].headers["authorization"] == "Bearer secret"


@pytest.mark.parametrize("url", ["ftp://server", "http://", "::"])
def test_addresses_that_are_not_of_web_servers_are_refused(url: str) -> None:
    with pytest.raises(ValueError, match="address"):
        FlowClient(url)
