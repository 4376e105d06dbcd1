"""A server shows the limits of its control groups, and accepts nothing beyond them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np
import pytest

from benchmarks.control_group import cpu_quota, memory_group
from energy_flow.testing import TINY_FIELDS
from tests.support.bodies import NPY, npy
from tests.support.live_server import TINY_FLAGS, live_server
from tests.support.servers import serving
from tests.support.waits import LIMIT_SECONDS

LIMIT = 1640 * 2**20
SMALL_LIMIT = 1300 * 2**20
SMALLEST_LIMIT = 2**30
QUOTA = 0.9
JSON = {"content-type": "application/json"}


def test_limits_are_shown_with_what_sets_them(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        system = server.client.get("/v1/system").json()
        metrics = server.client.get("/metrics").text
    assert 1 <= system["cpu"]["threads"] <= system["cpu"]["cores"] + 1
    assert system["cpu"]["source"]
    assert f"energy_flow_cpu_limit_cores {float(system['cpu']['cores'])}" in metrics
    assert f"energy_flow_cpu_threads {float(system['cpu']['threads'])}" in metrics
    group = system["memory"]["group"]
    source = "machine" if group is None else group["source"]
    assert (
        f'energy_flow_limits_info{{cpu="{system["cpu"]["source"]}",memory="{source}"}}' in metrics
    )
    assert ("energy_flow_group_memory_limit_bytes" in metrics) == (group is not None)


@pytest.mark.slow
def test_a_server_in_a_small_group_refuses_what_would_not_fit(tmp_path: Path) -> None:
    with memory_group(LIMIT) as memory, cpu_quota(QUOTA) as cpu:
        if memory is None or cpu is None:
            pytest.skip("this machine allows no control group; it takes root")
        with (
            live_server(
                tmp_path, (*TINY_FLAGS, "--memory-limit", "0.8"), groups=(memory, cpu)
            ) as server,
            httpx.Client(base_url=server.url, timeout=LIMIT_SECONDS) as client,
        ):
            system = client.get("/v1/system").json()
            assert system["cpu"]["threads"] == 1
            assert system["cpu"]["cores"] == pytest.approx(QUOTA)
            group = system["memory"]["group"]
            assert group["limit_bytes"] == LIMIT
            assert 0 < group["used_bytes"] < LIMIT
            assert 0 < system["memory"]["limit_bytes"] < 0.8 * LIMIT
            metrics = client.get("/metrics").text
            assert f"energy_flow_group_memory_limit_bytes {LIMIT:.8e}" in metrics
            assert group["source"] in metrics
            assert system["cpu"]["source"] in metrics
            # About 4 GB of trace records.
            request = {
                "embeddings": [[0.1] * TINY_FIELDS["embedding_dim"]] * 8,
                "trace": {"capacity": 10**7},
            }
            refused = client.post("/v1/simulate", json=request)
            assert refused.status_code in {413, 422}, refused.text
            request["trace"] = {"capacity": 100}
            assert client.post("/v1/simulate", json=request).status_code == 200


@pytest.mark.slow
def test_models_do_not_end_a_server_in_a_small_group(tmp_path: Path) -> None:
    with memory_group(SMALL_LIMIT) as memory:
        if memory is None:
            pytest.skip("this machine allows no control group; it takes root")
        with (
            live_server(tmp_path, TINY_FLAGS, groups=(memory,)) as server,
            httpx.Client(base_url=server.url, timeout=LIMIT_SECONDS) as client,
        ):

            def make(name: str, width: int, hidden: int = 1024) -> httpx.Response:
                config = {**TINY_FIELDS, "embedding_dim": width, "mapper_hidden_dim": hidden}
                config["model_seed"] = len(client.get("/v1/models").json()["items"])
                return client.post("/v1/models", json={"name": name, "config": config})

            def simulate(name: str, width: int) -> httpx.Response:
                body = {"embeddings": [[0.1] * width], "model": name, "store": False}
                return client.post("/v1/simulate", json=body)

            limit = client.get("/v1/system").json()["memory"]["limit_bytes"]
            # One has weights of 4 GB, the other one of 410 MB, which loading doubles.
            for width in (1_000_000, 50_000):
                refused = make(f"wide-{width}", width)
                assert refused.status_code in {413, 422}, refused.text
                assert "bytes" in refused.json()["detail"]
            assert make("largest", 50_000, 512).status_code == 201
            assert simulate("largest", 50_000).status_code == 200
            # Four of them need 1 GB with their packed copies, which is more than the limit.
            names = [f"model-{number}" for number in range(4)]
            assert limit < 4 * 2 * 4 * 2 * 16_000 * 1024
            for name in names:
                assert make(name, 16_000).status_code == 201
            for name in (*names, names[0]):
                answer = simulate(name, 16_000)
                assert answer.status_code == 200, answer.text
            memory_view = client.get("/v1/system").json()["memory"]
            assert 0 < memory_view["models_bytes"] <= limit
            assert memory_view["group"]["used_bytes"] < SMALL_LIMIT
            assert client.get("/livez").status_code == 200


@pytest.mark.slow
def test_bodies_do_not_end_a_server_in_a_small_group(tmp_path: Path) -> None:
    width = 8192
    flags = (*TINY_FLAGS, "--set", f"embedding_dim={width}")
    row = ",".join(str(number % 2) for number in range(width))
    # Numbers of one digit are those that grow most.
    digits = '{"embeddings":[' + ",".join([f"[{row}]"] * 1800) + "]}"
    floats = npy(np.full((1800, width), 0.1, np.float32))
    with memory_group(SMALLEST_LIMIT) as memory:
        if memory is None:
            pytest.skip("this machine allows no control group; it takes root")
        with (
            live_server(tmp_path, flags, groups=(memory,)) as server,
            httpx.Client(base_url=server.url, timeout=LIMIT_SECONDS) as client,
            ThreadPoolExecutor(8) as senders,
        ):

            def send(number: int) -> int:
                if number % 2:
                    path, body, headers = "/v1/simulate", digits.encode(), JSON
                else:
                    path, body, headers = "/v1/simulate?store=false", floats, NPY
                return client.post(path, content=body, headers=headers).status_code

            assert set(senders.map(send, range(8))) <= {200, 413, 429}
            assert server.process.poll() is None
            small = {"embeddings": [[0.1] * width]}
            assert client.post("/v1/simulate", json=small).status_code == 200
