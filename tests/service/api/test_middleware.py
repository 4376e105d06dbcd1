"""The middleware: API keys, request ids, availability and probes."""

from __future__ import annotations

import logging
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI

from energy_flow.choices import ServerState
from service.lifespan import ServiceLimits
from tests.support.bodies import NPY, npy
from tests.support.servers import RunningServer, request_endless_run, rows, serving
from tests.support.waits import LIMIT_SECONDS, until


def test_the_key_is_required_except_for_probes_and_pages(tmp_path: Path) -> None:
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
        returned = client.get("/nowhere", headers={"x-request-id": given}).headers["x-request-id"]
        assert (returned == given) is taken


def test_requests_are_logged_with_their_status(
    client: httpx.Client, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, logger="service.access"):
        client.get("/nowhere", headers={"x-request-id": "seen"})
        until(lambda: "service.access" in {record.name for record in caplog.records})
    [line] = [vars(record) for record in caplog.records if record.name == "service.access"]
    assert line["message"].startswith("GET /nowhere 404 ")
    assert line["request_id"] == "seen"


def test_a_disconnect_is_logged_as_499(
    server: RunningServer, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, logger="service.access"):
        with request_endless_run(server):
            until(lambda: server.client.get("/v1/system").json()["engine"]["active_runs"])
        until(lambda: any("/v1/simulate 499" in message for message in caplog.messages))


def test_an_unexpected_error_is_answered_and_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> None:
        raise TypeError("the route has a fault")

    with serving(tmp_path) as server:
        app = server.server.config.app
        assert isinstance(app, FastAPI)
        app.add_api_route("/faulty", fail)
        answer = server.client.get("/faulty")
        assert answer.status_code == 500
        assert answer.headers["content-type"] == "application/problem+json"
        assert "TypeError" not in answer.text
        assert "TypeError" in caplog.text
        assert server.client.get("/v1/runs").status_code == 200


def test_probes_are_answered_during_the_start(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "index.sqlite3", isolation_level=None)) as index:
        index.execute("PRAGMA journal_mode = WAL")
        # The server cannot write to its index while another process does.
        index.execute("BEGIN IMMEDIATE")
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
                index.execute("ROLLBACK")
            until(lambda: client.get("/readyz").status_code == 200)
            assert client.get("/v1/runs").json()["items"] == []


def test_a_server_that_cannot_start_reports_the_reason_and_ends(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"not a checkpoint")
    model = tmp_path / "model.safetensors"
    with serving(tmp_path / "data", wait=False, set=(), model=model) as server:
        server.thread.join(LIMIT_SECONDS)
        assert not server.thread.is_alive()
        assert server.server.service.state is ServerState.FAILED
        assert "safetensors" in str(server.server.service.failure)
        assert server.server.exit_code == 1


def test_a_server_with_a_stuck_engine_is_not_ready(tmp_path: Path) -> None:
    with serving(tmp_path, limits=ServiceLimits(max_heartbeat_seconds=1.0)) as server:
        client = server.client
        with server.engine_held():
            until(lambda: client.get("/readyz").status_code == 503)
            assert "no heartbeat" in client.get("/readyz").json()["detail"]
            assert client.get("/livez").status_code == 200
        until(lambda: client.get("/readyz").status_code == 200)


def test_a_drain_completes_running_work_and_accepts_no_more(tmp_path: Path) -> None:
    with (
        serving(tmp_path, drain_seconds=LIMIT_SECONDS) as server,
        httpx.Client(base_url=server.client.base_url, timeout=LIMIT_SECONDS) as other,
        ThreadPoolExecutor(1) as caller,
    ):
        client = server.client
        headers = NPY
        # Held in the middle of the work, which would otherwise be over before the drain begins.
        with server.engine_held() as engine:
            asked = caller.submit(
                other.post, "/v1/simulate", content=npy(rows(1500)), headers=headers
            )
            engine.run_until(lambda: client.get("/v1/system").json()["engine"]["active_runs"])
            server.server.request_stop()
            until(lambda: server.server.service.state is ServerState.DRAINING)
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
