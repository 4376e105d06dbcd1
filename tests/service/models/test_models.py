"""Models by name: created, described, downloaded and stored."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from energy_flow import checkpoint
from tests.support.servers import CONFIG, RunningServer, rows, serving


def make(client: httpx.Client, name: str, **fields: Any) -> httpx.Response:
    return client.post("/v1/models", json={"name": name, "config": CONFIG, **fields})


def test_the_default_model(client: httpx.Client) -> None:
    reported = client.get("/v1/models/default").json()
    assert reported["name"] == "default"
    assert reported["trained"] is False
    assert reported["loaded"] is True
    assert reported["coord_version"] == 2
    assert reported["config"]["embedding_dim"] == 8


def test_a_model_is_made_and_used(client: httpx.Client) -> None:
    answer = make(client, "other", model_seed=3)
    assert answer.status_code == 201
    assert answer.headers["location"] == "/v1/models/other"
    reported = answer.json()
    assert reported == client.get("/v1/models/other").json()
    assert reported["config"]["model_seed"] == 3
    assert reported["trained"] is False
    fields = {"embeddings": rows().tolist()}
    ours = client.post("/v1/simulate", json={**fields, "model": "other"}).json()
    theirs = client.post("/v1/simulate", json=fields).json()
    assert ours["model"]["name"] == "other"
    assert ours["outputs"] != theirs["outputs"]
    listed = client.get("/v1/models").json()["items"]
    assert [item["name"] for item in listed][-1] == "default"
    assert "other" in [item["name"] for item in listed]
    run = client.get(f"/v1/runs/{ours['run_id']}").json()
    assert run["model"]["digest"] == reported["digest"]


@pytest.mark.parametrize("name", ["default", "downloaded"])
def test_a_checkpoint_by_accept(client: httpx.Client, tmp_path: Path, name: str) -> None:
    if name != "default":
        make(client, name)
    answer = client.get(f"/v1/models/{name}", headers={"accept": "application/octet-stream"})
    assert answer.status_code == 200
    path = tmp_path / "model.safetensors"
    path.write_bytes(answer.content)
    processor = checkpoint.load(path)
    assert processor.digest() == client.get(f"/v1/models/{name}").json()["digest"]
    reported = client.post(
        "/v1/simulate", json={"embeddings": rows().tolist(), "model": name, "seed": 2}
    ).json()
    result = processor.simulate(rows(), seed=2)
    assert np.array_equal(
        np.array(reported["outputs"]["surface"], dtype=np.float32), result.outputs["surface"]
    )


def test_refusals_leave_nothing(server: RunningServer) -> None:
    client = server.client
    before = sorted(path.name for path in (server.data_dir / "models").iterdir())
    too_large = {"lattice_width": 4096, "lattice_height": 4096, "mapper_hidden_dim": 2**20}
    for fields, status, loc in (
        ({"name": "a/b"}, 422, ["name"]),
        ({"name": ""}, 422, ["name"]),
        ({"name": "x", "preset": "nobody"}, 422, ["preset"]),
        ({"name": "x", "config": {"gravity": 1}}, 422, ["config", "gravity"]),
        ({"name": "x", "config": too_large}, 422, None),
        ({"name": "x", "model_seed": -1}, 422, ["model_seed"]),
        ({"name": "x", "model_seed": 1, "config": {"model_seed": 2}}, 422, ["model_seed"]),
        ({"name": "x", "colour": 1}, 422, ["colour"]),
        ({}, 422, ["name"]),
        ({"name": "default"}, 409, None),
    ):
        answer = client.post("/v1/models", json=fields)
        assert answer.status_code == status, (fields, answer.text)
        if loc is not None:
            assert loc in [error["loc"] for error in answer.json()["errors"]]
    assert client.post("/v1/models", content=b"{", headers=JSON).status_code == 400
    assert client.post("/v1/models", content=b"{}").status_code == 415
    assert sorted(path.name for path in (server.data_dir / "models").iterdir()) == before
    assert client.get("/v1/models/x").status_code == 404


JSON = {"content-type": "application/json"}


def test_an_idempotency_key_makes_one_model(client: httpx.Client) -> None:
    headers = {"idempotency-key": "one-model"}
    fields = {"name": "once", "config": CONFIG}
    first = client.post("/v1/models", json=fields, headers=headers)
    second = client.post("/v1/models", json=fields, headers=headers)
    assert first.status_code == second.status_code == 201
    assert first.json() == second.json()
    assert second.headers["idempotency-replayed"] == "true"
    assert client.post("/v1/models", json=fields).status_code == 409
    other = {"name": "twice", "config": CONFIG}
    assert client.post("/v1/models", json=other, headers=headers).status_code == 422


def test_models_exist_after_a_restart(tmp_path: Path) -> None:
    fields = {"embeddings": rows().tolist(), "model": "kept"}
    with serving(tmp_path) as first:
        made = make(first.client, "kept", model_seed=9).json()
        outputs = first.client.post("/v1/simulate", json=fields).json()["outputs"]
    interrupted = tmp_path / "models" / f".{'0' * 32}.part"
    interrupted.write_bytes(b"x")
    with serving(tmp_path) as second:
        found = second.client.get("/v1/models/kept").json()
        assert found == {**made, "loaded": False}
        assert second.client.post("/v1/simulate", json=fields).json()["outputs"] == outputs
        assert second.client.get("/v1/models/kept").json()["loaded"] is True
    assert not interrupted.exists()


def test_the_default_model_can_be_a_checkpoint(tmp_path: Path) -> None:
    with serving(tmp_path / "a") as first:
        make(first.client, "made", model_seed=5)
        surface = first.client.post(
            "/v1/simulate", json={"embeddings": rows().tolist(), "model": "made"}
        ).json()["outputs"]
    path = tmp_path / "a" / "models" / "made.safetensors"
    with serving(tmp_path / "b", set=(), model=path) as second:
        reported = second.client.post("/v1/simulate", json={"embeddings": rows().tolist()}).json()
        assert reported["outputs"] == surface
