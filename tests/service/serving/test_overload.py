"""A server with too much to do: turns of clients, a full queue, a locked index."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from energy_flow.testing import TINY_FIELDS
from service.lifespan import ServiceLimits
from tests.support.bodies import NPY, npy
from tests.support.raw_connections import connect, receive_answer
from tests.support.servers import (
    RunningServer,
    local_engine,
    queue,
    rows,
    serving,
    wait_until_ended,
)
from tests.support.waits import LIMIT_SECONDS, until

CELLS = TINY_FIELDS["lattice_width"] * TINY_FIELDS["lattice_height"]
ONE_RUN = ServiceLimits(max_pool_flows=4 * CELLS)
"""Pools that have room for one run of four samples."""

_LOCK = """
import sqlite3, sys
index = sqlite3.connect(sys.argv[1], isolation_level=None)
index.execute("BEGIN EXCLUSIVE")
index.execute("CREATE TABLE of_another (one)")
print("locked", flush=True)
sys.stdin.read()
"""


@contextmanager
def client_from(server: RunningServer, address: str) -> Iterator[httpx.Client]:
    """Return a client whose connections come from an address of this machine."""
    transport = httpx.HTTPTransport(local_address=address)
    with httpx.Client(
        base_url=server.client.base_url, transport=transport, timeout=LIMIT_SECONDS
    ) as client:
        yield client


@contextmanager
def index_locked(server: RunningServer) -> Iterator[None]:
    """Let another process lock the index until the end of the block."""
    index = server.data_dir / "index.sqlite3"
    with subprocess.Popen(
        [sys.executable, "-c", _LOCK, str(index)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"locked\n"
        yield


def test_a_client_with_one_run_does_not_wait_for_all_runs_of_another(tmp_path: Path) -> None:
    with (
        serving(tmp_path, limits=ONE_RUN) as server,
        client_from(server, "127.0.0.2") as many,
        client_from(server, "127.0.0.3") as one,
    ):
        with server.engine_held():
            of_many = [queue(many, 4) for _ in range(9)]
            of_one = queue(one, 4)
        started = {
            run_id: wait_until_ended(server.client, run_id)["started_at"]
            for run_id in (*of_many, of_one)
        }
    order = sorted(started, key=lambda run_id: started[run_id])
    # Those that enter together start at about the same time.
    assert order.index(of_one) <= 3


def test_a_full_queue_refuses_before_the_body_is_sent(tmp_path: Path) -> None:
    with serving(tmp_path, limits=ONE_RUN, max_queued_flow_steps=1) as server:
        client = server.client
        with server.engine_held():
            first = queue(client, 4)
            for path in ("/v1/runs", "/v1/simulate", "/v2/models/default/infer"):
                connection = connect(server)
                head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n"
                connection.sendall(head.encode())
                answer = receive_answer(connection)
                assert answer.status == 429
                assert int(answer.headers["retry-after"]) >= 1
            # A check costs nothing, and a repetition neither.
            body = {"embeddings": rows(1).tolist()}
            assert client.post("/v1/simulate?dry_run=true", json=body).status_code == 200
        assert wait_until_ended(client, first)["state"] == "succeeded"
        queue(client, 4)
        assert 'refusals_total{reason="queue_full"} 3.0' in client.get("/metrics").text


def test_a_client_does_not_fill_the_queue_for_others(tmp_path: Path) -> None:
    with (
        serving(tmp_path, limits=ONE_RUN) as server,
        client_from(server, "127.0.0.2") as many,
        client_from(server, "127.0.0.3") as one,
    ):
        engine = local_engine(server.server.service)
        with server.engine_held():
            run_ids = [queue(many, 4)]
            until(lambda: engine.status().queued_flow_steps)
            engine.max_queued_flow_steps = 2 * engine.status().queued_flow_steps
            run_ids.append(queue(many, 4))
            refused = many.post("/v1/runs", content=npy(rows(4)), headers=NPY)
            assert refused.status_code == 429
            run_ids.append(queue(one, 4))
        for run_id in run_ids:
            assert wait_until_ended(server.client, run_id)["state"] == "succeeded"


@pytest.mark.parametrize("path", ["/v1/simulate", "/v2/models/default/infer"])
def test_requests_beyond_the_share_of_a_client_are_refused_before_their_body(
    tmp_path: Path, path: str
) -> None:
    body = {"embeddings": rows(1).tolist()}
    with (
        serving(tmp_path, max_active_requests=2) as server,
        client_from(server, "127.0.0.2") as many,
        client_from(server, "127.0.0.3") as one,
        ThreadPoolExecutor(9) as callers,
    ):
        engine = local_engine(server.server.service)
        with server.engine_held():
            waiting = [callers.submit(many.post, "/v1/simulate", json=body) for _ in range(8)]
            until(lambda: engine.status().queued_runs == 8)
            waiting.append(callers.submit(one.post, "/v1/simulate", json=body))
            until(lambda: engine.status().queued_runs == 9)
            head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n"
            connection = connect(server, "127.0.0.2")
            connection.sendall(head.encode())
            answer = receive_answer(connection)
            assert answer.status == 429
            assert int(answer.headers["retry-after"]) >= 1
            assert b"share" in answer.body
            # A check of a request does not wait for a simulation.
            assert many.post("/v1/simulate?dry_run=true", json=body).status_code == 200
        assert [call.result().status_code for call in waiting] == [200] * 9
        assert many.post("/v1/simulate", json=body).status_code == 200


def test_readers_that_have_left_take_no_threads(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        client = server.client
        stored = client.put("/v1/datasets/large", content=npy(rows(200_000)), headers=NPY)
        assert stored.status_code == 201
        head = (
            "GET /v1/datasets/large HTTP/1.1\r\nHost: localhost\r\n"
            "Accept: application/octet-stream\r\n\r\n"
        )
        readers = [connect(server) for _ in range(100)]
        for reader in readers:
            reader.sendall(head.encode())
        for reader in readers:
            reader.close()
        until(lambda: "energy_flow_http_requests_in_progress 1.0" in client.get("/metrics").text)
        assert 'status="499"' in client.get("/metrics").text
        answer = client.get("/v1/datasets/large", headers={"Accept": "application/octet-stream"})
        assert answer.status_code == 200


def test_lists_are_answered_while_the_index_is_locked(tmp_path: Path) -> None:
    limits = ServiceLimits(max_index_wait_seconds=0.5)
    with serving(tmp_path, limits=limits) as server, ThreadPoolExecutor(40) as callers:
        client = server.client
        run_id = queue(client, 2)
        wait_until_ended(client, run_id)
        with index_locked(server):
            # More than there are threads.
            writes = [
                callers.submit(client.post, "/v1/runs", content=npy(rows(2)), headers=NPY)
                for _ in range(40)
            ]
            for path in ("/livez", "/readyz", "/v1/runs", "/v1/datasets", "/v1/experiments"):
                assert client.get(path).status_code == 200
            assert client.get(f"/v1/runs/{run_id}").json()["state"] == "succeeded"
            assert client.get("/v1/system").status_code == 200
            for write in writes:
                refused = write.result()
                assert refused.status_code == 503
                assert int(refused.headers["retry-after"]) >= 1
                assert "locked" in refused.json()["detail"]
            assert 'refusals_total{reason="index_busy"} 40.0' in client.get("/metrics").text
        assert len(client.get("/v1/runs").json()["items"]) == 1
        wait_until_ended(client, queue(client, 2))


def test_results_that_are_computed_wait_for_the_index(tmp_path: Path) -> None:
    limits = ServiceLimits(max_index_wait_seconds=0.1)
    with serving(tmp_path, limits=limits) as server, ThreadPoolExecutor(1) as caller:
        client = server.client
        with index_locked(server):
            asked = caller.submit(client.post, "/v1/simulate", content=npy(rows(2)), headers=NPY)
            engine = local_engine(server.server.service)
            until(lambda: engine.status().flow_steps)
            # A request that changes something gives up long before.
            refused = client.post("/v1/runs", content=npy(rows(2)), headers=NPY)
            assert refused.status_code == 503
            assert not asked.done()
        answer = asked.result(LIMIT_SECONDS)
        assert answer.status_code == 200
        assert client.get(f"/v1/runs/{answer.json()['run_id']}").json()["state"] == "succeeded"


@pytest.mark.parametrize("path", ["/v1/runs", "/v1/datasets", "/livez"])
def test_uploads_that_do_not_go_on_keep_no_other_request_waiting(tmp_path: Path, path: str) -> None:
    with serving(tmp_path) as server:
        held = []
        for number in range(30):
            held.append(connect(server))
            head = (
                f"PUT /v1/datasets/d{number} HTTP/1.1\r\nHost: localhost\r\n"
                "Content-Type: application/x-npy\r\nContent-Length: 1000000\r\n\r\n"
            )
            held[-1].sendall(head.encode() + b"\x93NUMPY")
        assert server.client.get(path).status_code == 200
        for connection in held:
            connection.close()
