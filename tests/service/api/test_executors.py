"""A server whose work is carried out by another executor than the engine in its process."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from energy_flow.testing import InMemoryExecutor
from tests.support.bodies import NPY, npy
from tests.support.experiments import read_trials, start_experiment
from tests.support.experiments import wait_until_ended as wait_for_experiment
from tests.support.pairs import put_pairs
from tests.support.servers import ENDLESS, RunningServer, rows, serving, wait_until_ended
from tests.support.waits import until

OPTIONS = {"noise_std": 0.3, "max_steps": 6, "convergence.enabled": False}
KIND = "0123456789ab"
TRAINING: dict[str, Any] = {
    "kind": "train",
    "dataset": "pairs",
    "options": {"max_steps": 3, "noise_std": 0.1},
    "train": {
        "losses": {"cosine": {"weight": 1.0}},
        "data.held_out": 0.25,
        "batch.rows": 8,
        "length.steps": 4,
        "validation.every": 2,
        "checkpoints.every": 2,
    },
}


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    executor = InMemoryExecutor(chunk_samples=3, kind=KIND)
    with serving(tmp_path_factory.mktemp("elsewhere"), executor=executor) as running:
        yield running


def read_surface(client: httpx.Client, run_id: str) -> bytes:
    answer = client.get(f"/v1/runs/{run_id}/outputs/surface?format=npy")
    assert answer.status_code == 200, answer.text
    return answer.content


def test_runs_have_the_same_bits_wherever_they_are_computed(
    elsewhere: RunningServer, client: httpx.Client
) -> None:
    found = []
    for user in (elsewhere.client, client):
        body = {"embeddings": rows(7).tolist(), "options": OPTIONS, "seed": 4}
        simulated = user.post("/v1/simulate", json=body)
        assert simulated.status_code == 200, simulated.text
        queued = user.post("/v1/runs", json=body).json()["run_id"]
        assert wait_until_ended(user, queued)["state"] == "succeeded"
        assert user.put("/v1/datasets/seven", content=npy(rows(7)), headers=NPY).is_success
        part = {"dataset": "seven", "rows": [1, 6], "options": OPTIONS, "seed": 4}
        of_dataset = user.post("/v1/runs", json=part).json()["run_id"]
        assert wait_until_ended(user, of_dataset)["state"] == "succeeded"
        found.append(
            [
                simulated.json()["outputs"]["surface"],
                read_surface(user, queued),
                read_surface(user, of_dataset),
            ]
        )
    assert found[0] == found[1]


def test_a_run_tells_where_it_is_computed(elsewhere: RunningServer) -> None:
    client = elsewhere.client
    (worker,) = client.get("/v1/system").json()["workers"]
    assert (worker["name"], worker["kind"]) == ("memory", KIND)
    run_id = client.post("/v1/runs", json={"embeddings": rows(2).tolist()}).json()["run_id"]
    run = wait_until_ended(client, run_id)
    assert (run["worker"], run["worker_kinds"], run["attempts"]) == ("memory", [KIND], 1)
    replayed = client.post(f"/v1/runs/{run_id}/replay", json={"sample": 1}).json()
    assert (replayed["agrees"], replayed["note"]) == (True, None)


def test_a_run_elsewhere_is_cancelled(elsewhere: RunningServer) -> None:
    client = elsewhere.client
    body = {"embeddings": rows(2).tolist(), "options": ENDLESS}
    run_id = client.post("/v1/runs", json=body).json()["run_id"]
    until(lambda: client.get(f"/v1/runs/{run_id}").json()["state"] == "running")
    assert client.post(f"/v1/runs/{run_id}/cancel").is_success
    assert wait_until_ended(client, run_id)["state"] == "cancelled"


def test_experiments_trainings_and_ablations_are_carried_out_elsewhere(
    elsewhere: RunningServer,
) -> None:
    client = elsewhere.client
    put_pairs(client, "pairs", 24)
    sweep = {"grid": {"noise_std": [0.1, 0.3]}}
    start_experiment(client, name="sweep", dataset="pairs", sweep=sweep, chunk_samples=4)
    assert wait_for_experiment(client, "sweep")["state"] == "succeeded"
    start_experiment(client, name="training", **TRAINING)
    assert wait_for_experiment(client, "training")["state"] == "succeeded"
    (trained,) = read_trials(client, "training")
    assert client.get(f"/v1/models/{trained['makes_model']}").json()["trained"]
    body = {"dataset": "pairs", "resamples": 100}
    started = client.post("/v1/models/default/ablations", json=body)
    assert started.status_code == 202, started.text
    url = started.json()["url"]

    def ended() -> dict[str, Any] | None:
        answer: dict[str, Any] = client.get(url).json()
        return answer if answer["state"] in ("succeeded", "failed") else None

    measured: dict[str, Any] = until(ended)
    assert measured["state"] == "succeeded"
    assert measured["done"] == measured["total"]
