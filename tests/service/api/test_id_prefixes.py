"""Ids of runs, experiments and ablations that are given by their beginning."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import httpx
import pytest

from tests.support.experiments import put_dataset, start_experiment
from tests.support.experiments import wait_until_ended as wait_for_experiment
from tests.support.pairs import put_pairs
from tests.support.servers import RunningServer, queue, serving, wait_until_ended
from tests.support.waits import until

BELOW_A_RUN = ("", "/trace?format=csv", "/outputs/surface", "/inputs", "/samples", "/memory")


@pytest.fixture(scope="module")
def run_id(client: httpx.Client) -> str:
    run_id = queue(client, 2)
    wait_until_ended(client, run_id)
    return run_id


@pytest.fixture(scope="module")
def client(server: RunningServer) -> httpx.Client:
    return server.client


@pytest.mark.parametrize("below", BELOW_A_RUN)
def test_a_prefix_stands_for_a_run(client: httpx.Client, run_id: str, below: str) -> None:
    whole = client.get(f"/v1/runs/{run_id}{below}")
    answer = client.get(f"/v1/runs/{run_id[:6]}{below}")
    assert (answer.status_code, answer.content) == (200, whole.content)


def test_a_prefix_stands_for_a_run_that_is_changed_or_compared(client: httpx.Client) -> None:
    run_id = queue(client, 2)
    wait_until_ended(client, run_id)
    prefix = run_id[:10]
    assert client.get(f"/v1/runs/{prefix}/compare/{prefix}").json()["b"] == run_id
    assert client.post(f"/v1/runs/{prefix}/replay", json={"sample": 0}).json()["run_id"] == run_id
    assert client.get(f"/v1/runs/{prefix}/events").status_code == 200
    assert client.post(f"/v1/runs/{prefix}/cancel").status_code == 409
    assert client.delete(f"/v1/runs/{prefix}").status_code == 204
    assert client.get(f"/v1/runs/{run_id}").status_code == 404


@pytest.mark.parametrize("size", [5, 31])
def test_what_is_no_prefix_of_a_run_is_not_found(
    client: httpx.Client, run_id: str, size: int
) -> None:
    text = run_id[:size] if size == 5 else ("0" if run_id[0] != "0" else "1") + run_id[1:size]
    answer = client.get(f"/v1/runs/{text}")
    assert answer.status_code == 404
    assert text in answer.json()["detail"]


def test_a_prefix_of_several_runs_is_refused_with_their_ids(tmp_path: Path) -> None:
    with serving(tmp_path) as running:
        client = running.client
        first, second = (queue(client, 1) for _ in range(2))
        for run_id in (first, second):
            wait_until_ended(client, run_id)
        alike = first[:8] + second[8:]
        with closing(sqlite3.connect(tmp_path / "index.sqlite3")) as index, index:
            index.execute("UPDATE runs SET run_id = ? WHERE run_id = ?", (alike, second))
        answer = client.get(f"/v1/runs/{first[:8]}")
        assert answer.status_code == 409
        assert answer.json()["candidates"] == sorted([first, alike])
        assert first in answer.json()["detail"]
        assert client.delete(f"/v1/runs/{first[:6]}").status_code == 409
        assert client.get(f"/v1/runs/{first}").json()["run_id"] == first


def test_a_prefix_stands_for_an_experiment(client: httpx.Client) -> None:
    put_dataset(client, "prefixes", 2)
    created = start_experiment(client, name="with-a-prefix", dataset="prefixes")
    wait_for_experiment(client, "with-a-prefix")
    prefix = created["experiment_id"][:6]
    found = client.get(f"/v1/experiments/{prefix}").json()
    assert found["name"] == "with-a-prefix"
    assert len(client.get(f"/v1/experiments/{prefix}/trials").json()["items"]) == 1
    assert len(client.get(f"/v1/runs?experiment={prefix}").json()["items"]) == 1
    # A name wins.
    start_experiment(client, name=prefix, dataset="prefixes")
    wait_for_experiment(client, prefix)
    assert client.get(f"/v1/experiments/{prefix}").json()["name"] == prefix


def test_a_prefix_stands_for_an_ablation(client: httpx.Client) -> None:
    put_pairs(client, "prefixed-pairs", 12)
    path = "/v1/models/default/ablations"
    body = {"dataset": "prefixed-pairs", "resamples": 100}
    ablation_id = client.post(path, json=body).json()["ablation_id"]
    address = f"{path}/{ablation_id[:6]}"
    assert client.get(address).json()["ablation_id"] == ablation_id
    until(lambda: client.get(address).json()["state"] == "succeeded")
    assert client.delete(address).status_code == 204
    assert client.get(address).status_code == 404
