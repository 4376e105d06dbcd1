"""Names of models that trainings make: taken from the creation of the experiment on."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest
from safetensors.numpy import save

from tests.support.experiments import (
    change_state,
    read_trials,
    start_experiment,
    wait_for_state,
    wait_until_ended,
)
from tests.support.servers import CONFIG, RunningServer, rows, serving

SHORT: dict[str, Any] = {"length": {"steps": 1}, "batch": {"rows": 8}, "losses": {"mse": {}}}
TRAINING: dict[str, Any] = {"kind": "train", "dataset": "pairs", "train": SHORT}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RunningServer]:
    with serving(tmp_path) as running:
        body = save({"inputs": rows(32), "targets": rows(32, seed=1)})
        put = running.client.put("/v1/datasets/pairs?format=safetensors", content=body)
        put.raise_for_status()
        yield running


def create_model(client: httpx.Client, name: str) -> httpx.Response:
    return client.post("/v1/models", json={"name": name, "config": {**CONFIG, "model_seed": 9}})


def create_training(client: httpx.Client, name: str, **fields: Any) -> httpx.Response:
    return client.post("/v1/experiments", json={"name": name, **TRAINING, **fields})


@pytest.mark.parametrize(
    ("name", "status", "reason"),
    [
        ("taken", 409, "model 'taken' already exists"),
        ("Taken", 409, "only in upper and lower case"),
        ("default", 409, "model 'default' already exists"),
        ("energy_flow", 422, "/v2"),
    ],
)
def test_a_training_cannot_take_the_name_of_a_model(
    server: RunningServer, name: str, status: int, reason: str
) -> None:
    client = server.client
    create_model(client, "taken").raise_for_status()
    refused = create_training(client, name)
    assert (refused.status_code, reason in refused.json()["detail"]) == (status, True), refused.text
    assert client.get("/v1/experiments").json()["items"] == []
    assert client.get("/v1/runs").json()["items"] == []


def test_nothing_takes_the_name_of_a_model_that_is_being_trained(server: RunningServer) -> None:
    client = server.client
    create_model(client, "other").raise_for_status()
    checkpoint = client.get("/v1/models/other?format=safetensors").content
    with server.engine_held():
        create_training(client, "swept", seeds=[0, 1]).raise_for_status()
        for name in ("swept-1", "SWEPT-1"):
            for refused in (
                create_model(client, name),
                client.put(f"/v1/models/{name}", content=checkpoint),
                create_training(client, name),
            ):
                assert refused.status_code == 409, refused.text
                assert "choose another name" in refused.json()["detail"]
        assert create_model(client, "swept-1").json()["experiment"] == "swept"
        # No training makes them.
        assert create_model(client, "swept").status_code == 201
        assert create_model(client, "swept-2").status_code == 201
    assert wait_until_ended(client, "swept")["state"] == "succeeded"
    made = [trial["makes_model"] for trial in read_trials(client, "swept")]
    assert made == ["swept-0", "swept-1"]
    assert all(client.get(f"/v1/models/{name}").json()["trained"] for name in made)
    assert "already exists" in create_model(client, "swept-1").json()["detail"]


def test_a_name_is_free_after_a_training_was_cancelled(server: RunningServer) -> None:
    client = server.client
    endless = {**SHORT, "length": {"steps": 10**6}}
    create_training(client, "trained", train=endless).raise_for_status()
    wait_for_state(client, "trained", "running")
    change_state(client, "trained", "cancel")
    assert wait_until_ended(client, "trained")["state"] == "cancelled"
    assert create_model(client, "trained").status_code == 201


def test_a_repetition_of_the_request_is_no_second_training(server: RunningServer) -> None:
    client = server.client
    headers = {"idempotency-key": "once"}
    with server.engine_held():
        answers = [
            client.post("/v1/experiments", json={"name": "own", **TRAINING}, headers=headers)
            for _ in range(2)
        ]
        other = create_training(client, "own")
    assert [answer.status_code for answer in answers] == [201, 201]
    assert answers[1].headers["idempotency-replayed"] == "true"
    assert (other.status_code, "experiment 'own'" in other.json()["detail"]) == (409, True)
    assert wait_until_ended(client, "own")["state"] == "succeeded"


@pytest.mark.sqlite
@pytest.mark.parametrize("name", ["taken", "TAKEN"])
def test_a_training_of_an_earlier_version_gets_a_free_name(tmp_path: Path, name: str) -> None:
    with serving(tmp_path) as server:
        client = server.client
        body = save({"inputs": rows(32), "targets": rows(32, seed=1)})
        client.put("/v1/datasets/pairs?format=safetensors", content=body).raise_for_status()
        create_model(client, "taken").raise_for_status()
        create_model(client, "taken-2").raise_for_status()
        before = client.get("/v1/models/taken").json()
        with server.engine_held():
            start_experiment(client, name="own", **TRAINING)
            server.stop_while_held()
    with closing(sqlite3.connect(tmp_path / "index.sqlite3")) as index, index:
        index.execute(f"UPDATE runs SET request = json_set(request, '$.makes_model', '{name}')")
    with serving(tmp_path) as server:
        client = server.client
        assert wait_until_ended(client, "own")["state"] == "succeeded"
        (trial,) = read_trials(client, "own")
        assert trial["makes_model"] == f"{name}-3"
        assert f"{name}-3" in trial["warnings"][0]
        made = client.get(f"/v1/models/{name}-3").json()
        assert made["trained"] is True
        assert client.get("/v1/models/taken").json()["digest"] == before["digest"]
