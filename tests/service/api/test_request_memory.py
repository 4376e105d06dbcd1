"""Requests share the limit of memory with models and runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil
import pytest

from service.lifespan import ServiceLimits
from tests.support.bodies import NPY, npy
from tests.support.inference_requests import INFER
from tests.support.raw_connections import connect
from tests.support.servers import DIMENSION, RunningServer, rows, serving
from tests.support.waits import LIMIT_SECONDS, until

MEBIBYTE = 2**20
SHARE = 96 * MEBIBYTE / psutil.virtual_memory().total
"""Share of memory that leaves about 96 MiB for everything."""

HEAD = (
    b"POST /v1/simulate HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-npy\r\n"
    b"Content-Length: %d\r\n\r\n"
)


def limit_of(server: RunningServer) -> int:
    limit: int = server.client.get("/v1/system").json()["memory"]["limit_bytes"]
    return limit


def held_bytes(server: RunningServer) -> float:
    text = server.client.get("/metrics").text
    (line,) = [one for one in text.splitlines() if one.startswith("energy_flow_requests_memory")]
    return float(line.split()[1])


def wide_npy(size: int) -> bytes:
    """Return a body whose rows do not fit the model, so that it costs no time."""
    return npy(np.zeros((size // 4096, 1024), np.float32))


def test_a_body_that_can_never_fit_is_refused_before_it_is_read(tmp_path: Path) -> None:
    with serving(tmp_path, memory_limit=SHARE) as server:
        limit = limit_of(server)
        size = limit * 3 // 5
        refused = server.client.post("/v1/simulate", content=wide_npy(size), headers=NPY)
        assert refused.status_code == 413
        problem = refused.json()
        assert problem["needed_bytes"] > problem["available_bytes"] > 0
        assert problem["available_bytes"] <= limit
        refused = server.client.post(INFER, content=wide_npy(size))
        assert (refused.status_code, "bytes" in refused.json()["error"]) == (413, True)
        # Without a stated length, once too much has arrived.
        pieces = (b"x" * MEBIBYTE for _ in range(size // MEBIBYTE))
        assert server.client.post("/v1/simulate", content=pieces, headers=NPY).status_code == 413
        assert server.client.post("/v1/simulate", content=npy(rows()), headers=NPY).is_success
        until(lambda: held_bytes(server) == 0)


def test_numbers_of_json_count_with_their_arrays(tmp_path: Path) -> None:
    with serving(tmp_path, memory_limit=SHARE) as server:
        limit = limit_of(server)
        headers = {"content-type": "application/json"}
        # About every second byte is a number, which takes 12 bytes.
        numbers = ",".join(["[1,2,3,4,5,6,7]"] * (limit // 5 // 16))
        text = f'{{"embeddings":[{numbers}]}}'
        assert 2 * len(text) < limit
        for path in ("/v1/simulate", "/v1/runs"):
            refused = server.client.post(path, content=text, headers=headers)
            assert refused.status_code == 413, refused.text
            assert refused.json()["needed_bytes"] > 6 * len(text) > limit
        until(lambda: held_bytes(server) == 0)


def test_what_would_fit_without_others_waits_and_is_refused(tmp_path: Path) -> None:
    limits = ServiceLimits(arrival_seconds=LIMIT_SECONDS)
    with serving(tmp_path, memory_limit=SHARE, limits=limits) as server:
        size = limit_of(server) // 3
        with connect(server) as slow:
            slow.sendall(HEAD % size + b"x" * 1000)
            until(lambda: held_bytes(server) == 2 * size)
            refused = server.client.post("/v1/simulate", content=wide_npy(size), headers=NPY)
            assert refused.status_code == 429
            problem = refused.json()
            assert problem["title"] == "Memory in use"
            assert problem["needed_bytes"] > problem["available_bytes"]
            assert refused.headers["retry-after"]
            wanted = 'energy_flow_http_refusals_total{reason="memory_in_use"} 1.0'
            until(lambda: wanted in server.client.get("/metrics").text)
        until(lambda: held_bytes(server) == 0)
        accepted = server.client.post("/v1/simulate", content=wide_npy(size), headers=NPY)
        assert accepted.status_code == 422


def test_what_does_not_arrive_is_no_reason_to_refuse_others(tmp_path: Path) -> None:
    limits = ServiceLimits(arrival_seconds=0.1)
    with serving(tmp_path, memory_limit=SHARE, limits=limits) as server:
        size = limit_of(server) // 3
        with connect(server) as slow:
            slow.sendall(HEAD % size + b"x" * 1000)
            until(lambda: held_bytes(server) == 2 * 1000)
            accepted = server.client.post("/v1/simulate", content=wide_npy(size), headers=NPY)
            assert accepted.status_code == 422


def test_runs_leave_requests_what_they_do_not_use(tmp_path: Path) -> None:
    with serving(tmp_path, memory_limit=SHARE) as server:
        client = server.client
        body = json.dumps({"embeddings": rows(64).tolist(), "store": False})
        headers = {"content-type": "application/json"}
        for _ in range(3):
            assert client.post("/v1/simulate", content=body, headers=headers).status_code == 200
        until(lambda: held_bytes(server) == 0)


@pytest.mark.parametrize("accept", ["application/json", "application/octet-stream"])
def test_results_count_until_the_answer(tmp_path: Path, accept: str) -> None:
    with serving(tmp_path, memory_limit=SHARE) as server:
        limit = limit_of(server)
        samples = limit // 4096

        def simulate(count: int, **parameters: Any) -> httpx.Response:
            query = {"options": '{"max_steps":1}', "store": False, **parameters}
            return server.client.post(
                "/v1/simulate",
                params=query,
                content=npy(np.full((count, DIMENSION), 0.1, np.float32)),
                headers={**NPY, "accept": accept},
            )

        refused = simulate(samples)
        assert refused.status_code == 413, refused.text
        assert refused.json()["needed_bytes"] > limit
        assert simulate(samples, dry_run=True).json() == refused.json()
        assert simulate(8).status_code == 200
