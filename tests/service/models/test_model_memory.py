"""Models share the server's memory with runs: idle ones are unloaded, and the rest is refused."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import product
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from energy_flow import FlowProcessor, checkpoint
from energy_flow.runtime.limits import memory_limit
from energy_flow.simulation.footprint import footprint
from energy_flow.simulation.model_footprint import load_bytes, loaded_bytes
from energy_flow.testing import TINY_FIELDS, tiny_config
from tests.support.bodies import NPY, npy
from tests.support.servers import CONFIG, RunningServer, cancel, serving

WIDTH = 4096
WIDE = {**CONFIG, "embedding_dim": WIDTH, "mapper_hidden_dim": 256}
CONFIG_OF_WIDE = tiny_config(embedding_dim=WIDTH, mapper_hidden_dim=256)
HELD = loaded_bytes(CONFIG_OF_WIDE)
ROOM = max(load_bytes(CONFIG_OF_WIDE), footprint(CONFIG_OF_WIDE, 1).total) - HELD
DEFAULT = loaded_bytes(tiny_config())
NAMES = ("first", "second", "third")


@contextmanager
def limited(folder: Path, limit_bytes: int) -> Iterator[RunningServer]:
    """Run a server whose work may have some bytes of memory, and little more."""
    share = (limit_bytes + 2**20) / memory_limit("cpu", 1.0)
    with serving(folder, memory_limit=share) as server:
        yield server


def make(client: httpx.Client, name: str, **fields: Any) -> httpx.Response:
    config = {**WIDE, **fields, "model_seed": sum(map(ord, name))}
    return client.post("/v1/models", json={"name": name, "config": config})


def simulate(client: httpx.Client, name: str, **query: Any) -> httpx.Response:
    body = npy(np.full((1, WIDTH), 0.1, np.float32))
    return client.post("/v1/simulate", params={"model": name, **query}, content=body, headers=NPY)


def loaded(client: httpx.Client) -> list[str]:
    items = client.get("/v1/models").json()["items"]
    return sorted(item["name"] for item in items if item["loaded"])


def models_bytes(client: httpx.Client) -> int:
    found: int = client.get("/v1/system").json()["memory"]["models_bytes"]
    return found


def test_more_models_than_fit_are_used_in_turn(tmp_path: Path) -> None:
    with limited(tmp_path, DEFAULT + 2 * HELD + ROOM) as server:
        client = server.client
        for name in NAMES:
            made = make(client, name)
            assert made.status_code == 201, made.text
            assert made.json()["loaded"] is False
        assert models_bytes(client) == DEFAULT
        answers = {name: simulate(client, name).json()["outputs"] for name in NAMES}
        assert loaded(client) == ["default", "second", "third"]
        assert models_bytes(client) == DEFAULT + 2 * HELD
        lines = client.get("/metrics").text.splitlines()
        metrics = dict(line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
        assert (
            float(metrics['energy_flow_models_memory_bytes{worker="local"}']) == DEFAULT + 2 * HELD
        )
        assert float(metrics["energy_flow_models_loaded"]) == 3
        for name in NAMES:
            again = simulate(client, name)
            assert again.status_code == 200, again.text
            assert again.json()["outputs"] == answers[name]


def test_an_unloaded_model_still_answers_inferences(tmp_path: Path) -> None:
    with limited(tmp_path, DEFAULT + HELD + ROOM) as server:
        client = server.client
        for name in NAMES[:2]:
            make(client, name)
            assert client.post(f"/v1/models/{name}/load").json()["loaded"] is True
        assert loaded(client) == ["default", "second"]
        assert client.get("/v2/models/first/ready").status_code == 200
        tensor = {
            "name": "embeddings",
            "shape": [1, WIDTH],
            "datatype": "FP32",
            "data": [0.1] * WIDTH,
        }
        answer = client.post("/v2/models/first/infer", json={"inputs": [tensor]})
        assert answer.status_code == 200, answer.text
        assert loaded(client) == ["default", "first"]
        client.post("/v2/repository/models/first/unload", json={}).raise_for_status()
        assert client.post("/v2/models/first/infer", json={"inputs": [tensor]}).status_code == 409


def test_models_that_can_never_be_loaded_are_refused(tmp_path: Path) -> None:
    large = {"embedding_dim": 10 * WIDTH}
    path = tmp_path / "large.safetensors"
    checkpoint.save(FlowProcessor(tiny_config(**{**large, "mapper_hidden_dim": 64})), path)
    with limited(tmp_path / "data", DEFAULT + HELD + ROOM) as server:
        client = server.client
        for answer in (
            make(client, "x", **large),
            client.put("/v1/models/x", content=path.read_bytes()),
        ):
            assert answer.status_code in (413, 422), answer.text
            assert "bytes" in answer.json()["detail"]
        assert client.get("/v1/models/x").status_code == 404
        assert client.get("/v1/system").json()["memory"]["models_bytes"] == DEFAULT
        assert [one.name for one in (tmp_path / "data" / "models").glob("x*")] == []


def test_a_model_that_does_not_fit_beside_a_run_is_429(tmp_path: Path) -> None:
    with limited(tmp_path, DEFAULT + HELD + ROOM) as server:
        client = server.client
        for name in NAMES[:2]:
            make(client, name)
        endless = {"max_steps": 10**6, "projection_age": 10**6, "convergence.enabled": False}
        quiet = {"noise_std": 0.001, "spawn.mode": "off", "displacement_scale": 1e-9}
        body = {
            "embeddings": [[0.1] * WIDTH],
            "model": "first",
            "options": {**endless, **quiet},
        }
        run = client.post("/v1/runs", json=body)
        assert run.status_code == 202, run.text
        for answer in (client.post("/v1/models/second/load"), simulate(client, "second")):
            assert answer.status_code == 429, answer.text
            problem = answer.json()
            assert problem["title"] == "Memory in use"
            assert problem["needed_bytes"] > problem["available_bytes"]
            assert int(answer.headers["retry-after"]) >= 1
        # A dry run needs no model, and asks what could ever fit.
        dry = simulate(client, "second", dry_run="true")
        assert dry.status_code == 200, dry.text
        assert loaded(client) == ["default", "first"]
        cancel(client, run.json()["run_id"])
        assert simulate(client, "second").status_code == 200


OPTIONS: tuple[dict[str, Any], ...] = (
    {"trace.capacity": 100_000},
    {"trace.capacity": 100_000, "trace.keep": "lossless"},
    {"trace.capacity": 400_000},
    {"trace.capacity": 10**7},
    {"max_active_flows": 5_000},
)


def test_a_dry_run_is_refused_as_the_run_is(tmp_path: Path) -> None:
    seen = set()
    with limited(tmp_path, DEFAULT + 24 * 2**20) as server:
        client = server.client
        available = client.get("/v1/system").json()["memory"]["limit_bytes"]
        for options, count in product(OPTIONS, (1, 40, 4_000)):
            body = {
                "embeddings": [[0.1] * TINY_FIELDS["embedding_dim"]] * count,
                "options": {**options, "max_steps": 2},
                "store": False,
            }
            dry = client.post("/v1/simulate", params={"dry_run": "true"}, json=body)
            run = client.post("/v1/simulate", json=body)
            assert dry.status_code == run.status_code, (options, count, dry.text, run.text[:500])
            seen.add(dry.status_code)
            if dry.status_code == 200:
                assert dry.json()["predicted_bytes"] <= available
            else:
                assert dry.json() == run.json()
    assert seen == {200, 413, 422}
