"""What stands before the routes: keys, ids, availability, probes."""

from __future__ import annotations

import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from service.lifespan import Service, State
from service.store.database import Database
from tests.service.servers import (
    LIMIT_SECONDS,
    RunningServer,
    ask_for_an_endless_run,
    npy,
    rows,
    serving,
    until,
)


def test_the_key_is_asked_for_everywhere_but_at_the_probes_and_pages(tmp_path: Path) -> None:
    with serving(tmp_path, api_key="sesame") as server:
        client = server.client
        for path in ("/livez", "/readyz", "/", "/docs", "/icon.svg"):
            assert client.get(path).status_code == 200
        for path in ("/v1/runs", "/openapi.json", "/nowhere", "/v1/system", "/metrics"):
            refused = client.get(path)
            assert refused.status_code == 401
            assert refused.headers["www-authenticate"] == "Bearer"
            assert refused.headers["content-type"] == "application/problem+json"
        body = {"embeddings": rows().tolist()}
        for given in (
            "Bearer open",
            "Bearer",
            "Basic sesame",
            "sesame",
            "Bearer sesame2",
            "Bearer é",
        ):
            headers = {b"authorization": given.encode()}
            assert client.post("/v1/simulate", json=body, headers=headers).status_code == 401
        for given in ("Bearer sesame", "bearer sesame"):
            headers = {b"authorization": given.encode()}
            assert client.post("/v1/simulate", json=body, headers=headers).status_code == 200


def test_a_large_body_without_a_key_gets_its_answer(tmp_path: Path) -> None:
    with serving(tmp_path, api_key="sesame") as server:
        refused = server.client.post("/v1/simulate", content=b"x" * 8_000_000)
        assert refused.status_code == 401


def test_every_answer_has_an_id(client: httpx.Client) -> None:
    assert client.get("/livez").headers["x-request-id"]
    for given, taken in (("abc-1", True), ("x" * 100, False), ("a b", False)):
        told = client.get("/nowhere", headers={"x-request-id": given}).headers["x-request-id"]
        assert (told == given) is taken


def test_requests_are_logged_with_their_status(
    client: httpx.Client, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, logger="service.access"):
        client.get("/nowhere", headers={"x-request-id": "seen"})
        until(lambda: any("seen" in message for message in caplog.messages))
    assert any("GET /nowhere 404" in message for message in caplog.messages)


def test_a_client_that_hung_up_is_logged_as_499(
    server: RunningServer, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, logger="service.access"):
        with ask_for_an_endless_run(server):
            until(lambda: server.client.get("/v1/system").json()["engine"]["active_runs"])
        until(lambda: any("/v1/simulate 499" in message for message in caplog.messages))


def test_what_nobody_expects_is_a_problem_and_logged(
    client: httpx.Client, server: RunningServer, caplog: pytest.LogCaptureFixture
) -> None:
    archive = server.server.service.archive
    folder = archive._folder
    archive._folder = None  # type: ignore[assignment]
    try:
        answer = client.post("/v1/runs", json={"embeddings": rows().tolist()})
    finally:
        archive._folder = folder
    assert answer.status_code == 500
    assert answer.headers["content-type"] == "application/problem+json"
    assert "TypeError" not in answer.text
    assert "TypeError" in caplog.text
    assert client.post("/v1/simulate", json={"embeddings": rows().tolist()}).status_code == 200


def test_it_listens_while_it_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    go_on = threading.Event()

    class SlowDatabase(Database):
        def __init__(self, url: str) -> None:
            go_on.wait()
            super().__init__(url)

    monkeypatch.setattr("service.lifespan.Database", SlowDatabase)
    with serving(tmp_path, wait=False) as server:
        try:
            until(lambda: server.server.started)
            client = server.client
            assert client.get("/livez").status_code == 200
            for path in ("/readyz", "/v1/runs", "/v1/system"):
                answer = client.get(path)
                assert answer.status_code == 503
                assert "starting" in answer.json()["detail"]
                assert answer.headers["retry-after"]
        finally:
            go_on.set()
        until(lambda: client.get("/readyz").status_code == 200)
        assert client.get("/v1/runs").json()["items"] == []


def test_a_server_that_cannot_start_says_why_and_ends(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"not a checkpoint")
    model = tmp_path / "model.safetensors"
    with serving(tmp_path / "data", wait=False, set=(), model=model) as server:
        server.thread.join(LIMIT_SECONDS)
        assert not server.thread.is_alive()
        assert server.server.service.state is State.FAILED
        assert "safetensors" in str(server.server.service.failure)
        assert server.server.exit_code == 1


def test_it_is_not_ready_when_the_engine_is_stuck(
    client: httpx.Client, server: RunningServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.lifespan.HEARTBEAT_SECONDS", -1.0)
    answer = client.get("/readyz")
    assert answer.status_code == 503
    assert "has not come round" in answer.json()["detail"]
    assert client.get("/livez").status_code == 200
    monkeypatch.undo()
    until(lambda: client.get("/readyz").status_code == 200)
    assert isinstance(server.server.service, Service)


def test_a_drain_lets_running_work_end_and_takes_no_more(tmp_path: Path) -> None:
    with (
        serving(tmp_path, drain_seconds=LIMIT_SECONDS) as server,
        httpx.Client(base_url=server.client.base_url, timeout=LIMIT_SECONDS) as other,
        ThreadPoolExecutor(1) as caller,
    ):
        client = server.client
        headers = {"content-type": "application/x-npy"}
        # Held in the middle of the work, which would otherwise be over before the drain begins.
        with server.engine_held() as engine:
            asked = caller.submit(
                other.post, "/v1/simulate", content=npy(rows(1500)), headers=headers
            )
            engine.go_until(lambda: client.get("/v1/system").json()["engine"]["active_runs"])
            server.server.ask_to_stop()
            until(lambda: server.server.service.state is State.DRAINING)
            assert client.get("/livez").status_code == 200
            assert client.get("/readyz").status_code == 503
            refused = client.post("/v1/simulate", json={"embeddings": rows().tolist()})
            assert refused.status_code == 503
            assert client.get("/v1/runs").status_code == 200
        answer = asked.result(LIMIT_SECONDS)
        assert answer.status_code == 200
        assert np_rows(answer) == 1500
        server.thread.join(LIMIT_SECONDS)
        assert not server.thread.is_alive()
        assert server.server.exit_code == 0


def np_rows(answer: httpx.Response) -> int:
    return len(answer.json()["outputs"]["surface"])
