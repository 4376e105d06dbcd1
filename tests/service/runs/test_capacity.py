"""Work beyond the memory, the time or the queue is refused or fails, and nothing else fails."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from energy_flow import FlowProcessor, checkpoint
from energy_flow.config.flow_config import parse_assignments
from energy_flow.testing import tiny_config
from tests.support.bodies import NPY, npy
from tests.support.servers import TINY, rows, serving, wait_until_ended
from tests.support.waits import until


def test_a_full_queue_is_429_with_the_time_of_a_retry(tmp_path: Path) -> None:
    with serving(tmp_path, max_queued_flow_steps=1) as server:
        client = server.client
        # How long others have to wait is known as soon as a step has been measured.
        first = client.post("/v1/simulate?store=false", content=npy(rows(5)), headers=NPY)
        assert first.status_code == 200
        # Between steps no run starts, so the queue stays as full as it is.
        with server.engine_held():
            # The first run that waits is always taken.
            accepted = client.post("/v1/runs", content=npy(rows(5)), headers=NPY)
            assert accepted.status_code == 202
            run_id = accepted.json()["run_id"]
            for path in ("/v1/runs", "/v1/simulate"):
                refused = client.post(path, content=npy(rows(5)), headers=NPY)
                assert refused.status_code == 429
                assert int(refused.headers["retry-after"]) >= 1
            assert _folders(tmp_path) == [run_id]
            assert [run["run_id"] for run in client.get("/v1/runs").json()["items"]] == [run_id]
            dry = client.post("/v1/simulate?dry_run=true", content=npy(rows(5)), headers=NPY)
            assert dry.json()["queue_wait_ms"] > 0
        until(lambda: not client.get("/v1/system").json()["engine"]["queued_runs"])
        # It has started, so there is room in the queue again.
        good = client.post("/v1/simulate", content=npy(rows(5)), headers=NPY)
        assert good.status_code == 200


def _folders(data_dir: Path) -> list[str]:
    return [path.name for path in (data_dir / "runs").iterdir()]


@pytest.mark.slow
def test_requests_that_can_never_fit_are_refused(tmp_path: Path) -> None:
    with serving(tmp_path, memory_limit=0.0002) as server:
        client = server.client
        for path in ("/v1/simulate", "/v1/simulate?dry_run=true"):
            batch = client.post(path, content=npy(rows(20_000)), headers=NPY)
            assert batch.status_code == 413
            problem = batch.json()
            assert problem["needed_bytes"] > problem["available_bytes"] > 0
            options = {"options": {"trace": {"capacity": 2**30}}}
            sample = client.post(path, json={"embeddings": rows(1).tolist(), **options})
            assert sample.status_code == 422
            assert "bytes" in sample.json()["detail"]
        assert client.get("/v1/runs").json()["items"] == []
        assert _folders(tmp_path) == []
        # As a queued run it streams through.
        queued = client.post("/v1/runs", content=npy(rows(600)), headers=NPY).json()["run_id"]
        assert wait_until_ended(client, queued)["state"] == "succeeded"


def test_too_many_samples_or_too_large_an_answer_are_413(tmp_path: Path) -> None:
    with serving(tmp_path, max_samples=10) as server:
        for path in ("/v1/simulate", "/v1/runs"):
            many = server.client.post(path, content=npy(rows(11)), headers=NPY)
            assert many.status_code == 413
            assert many.json()["limit_samples"] == 10
        assert server.client.post("/v1/runs", content=npy(rows(10)), headers=NPY).status_code == 202
    wide = ("lattice_width=256", "lattice_height=256", *TINY[2:])
    with serving(tmp_path / "wide", set=wide) as server:
        large = server.client.post("/v1/simulate", content=npy(rows(2000)), headers=NPY)
        assert large.status_code == 413
        assert "/v1/runs" in large.json()["detail"]


@pytest.fixture
def exploding(tmp_path: Path) -> Path:
    """Return a checkpoint whose displacements are infinite."""
    processor = FlowProcessor(tiny_config())
    with torch.no_grad():
        for parameter in processor.carrier.displacement_head.parameters():
            parameter.fill_(3e38)
    path = tmp_path / "exploding.safetensors"
    checkpoint.save(processor, path)
    return path


def test_a_run_with_numbers_that_are_not_finite_does_not_affect_others(
    tmp_path: Path, exploding: Path
) -> None:
    with serving(tmp_path / "data", set=(), model=exploding) as server:
        client = server.client
        config = parse_assignments(TINY)
        assert client.post("/v1/models", json={"name": "good", "config": config}).status_code == 201
        body = {"embeddings": rows().tolist()}
        failed = client.post("/v1/simulate", json=body)
        assert failed.status_code == 422
        problem = failed.json()
        assert {"sample", "flow", "step", "run_id"} <= set(problem)
        run = client.get(f"/v1/runs/{problem['run_id']}").json()
        assert run["state"] == "failed"
        assert run["error"]["step"] == problem["step"]
        queued = client.post("/v1/runs", json=body).json()["run_id"]
        assert wait_until_ended(client, queued)["state"] == "failed"
        good = client.post("/v1/simulate", json={**body, "model": "good"})
        assert good.status_code == 200
        assert np.isfinite(good.json()["outputs"]["surface"]).all()
