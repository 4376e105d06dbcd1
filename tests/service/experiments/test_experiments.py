"""Experiments as a resource: created, followed, paused, resumed, cancelled, removed."""

from __future__ import annotations

import io
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import orjson
import pyarrow.parquet as pq
import pytest

from energy_flow.choices import Output, names_of
from energy_flow.testing import TINY_FIELDS
from tests.support.experiments import (
    put_dataset,
    read_experiment,
    read_trials,
    start_experiment,
    wait_until_ended,
)
from tests.support.servers import rows, serving
from tests.support.waits import until


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    with serving(tmp_path_factory.mktemp("experiments")) as server:
        put_dataset(server.client, "few", 6)
        put_dataset(server.client, "many", 800)
        yield server.client


def test_a_sweep_is_carried_out_trial_by_trial(client: httpx.Client) -> None:
    grid: dict[str, list[Any]] = {"noise_std": [0.1, 0.2], "spawn.mode": ["off", "threshold"]}
    fields: dict[str, Any] = {
        "name": "grid",
        "dataset": "few",
        "rows": [1, 5],
        "outputs": ["surface", "hits"],
    }
    made = start_experiment(
        client, **fields, sweep={"grid": grid}, seeds=[3, 4], options={"max_steps": 3}
    )
    assert made["state"] == "queued"
    assert made["trials"]["total"] == 8
    assert made["dataset"]["rows"] == [1, 5]
    assert made["fields"] == ["noise_std", "spawn.mode"]
    assert made["url"] == f"/v1/experiments/{made['experiment_id']}"
    over = wait_until_ended(client, "grid")
    assert over["state"] == "succeeded"
    assert over["trials"]["succeeded"] == 8
    assert over["progress"]["samples_done"] == over["progress"]["samples"] == 8 * 4
    assert over["created_at"] <= over["started_at"] <= over["ended_at"]
    assert read_experiment(client, made["experiment_id"]) == over
    expected = [
        ({"noise_std": noise, "spawn.mode": mode}, seed)
        for noise in grid["noise_std"]
        for mode in grid["spawn.mode"]
        for seed in (3, 4)
    ]
    found = read_trials(client, "grid")
    assert [(trial["parameters"], trial["seed"]) for trial in found] == expected
    assert [trial["trial"] for trial in found] == list(range(8))
    assert client.get(f"{over['url']}/trials/5").json() == found[5]
    assert client.get(f"{over['url']}/trials/8").status_code == 404


def test_a_trial_is_a_run_and_equals_one(client: httpx.Client) -> None:
    options = {"noise_std": 0.3, "spawn.threshold": 0.1, "trace.capacity": 50}
    start_experiment(
        client,
        name="one",
        dataset="many",
        rows=[700, 790],
        options={"noise_std": 0.3, "spawn.threshold": 0.1},
        trace={"capacity": 50},
        outputs=list(names_of(Output)),
        seeds=[9],
        chunk_samples=7,
    )
    wait_until_ended(client, "one")
    (trial,) = read_trials(client, "one")
    run = client.get(trial["run_url"]).json()
    assert run["kind"] == "trial"
    assert run["experiment"]["trial"] == 0
    body: dict[str, Any] = {
        "dataset": "many",
        "rows": [700, 790],
        "options": options,
        "outputs": names_of(Output),
        "seed": 9,
    }
    answer = client.post("/v1/runs", json=body)
    assert answer.status_code == 202, answer.text
    url, run_id = answer.json()["url"], answer.json()["run_id"]
    until(lambda: client.get(url).json()["state"] == "succeeded")
    for name in body["outputs"]:
        path = f"outputs/{name}?format=npy"
        same = [client.get(f"{one}/{path}").content for one in (trial["run_url"], url)]
        assert same[0] == same[1]
    traces = [client.get(f"{one}/trace?format=ndjson").text for one in (trial["run_url"], url)]
    assert traces[0] == traces[1] == client.get(f"{trial['url']}/trace?format=ndjson").text
    part = client.get(f"{trial['url']}/trace?format=ndjson&kind=spawn&limit=3").text.splitlines()
    assert [orjson.loads(line)["kind"] for line in part] == ["spawn"] * 3
    compared = client.get(f"{trial['run_url']}/compare/{run_id}").json()
    assert len(compared["samples"]) == 90
    assert all(sample["first_difference"] is None for sample in compared["samples"])
    replayed = client.post(f"{trial['run_url']}/replay", json={"sample": 4}).json()
    assert replayed["agrees"]


def test_all_faults_are_reported_at_once_and_nothing_is_left(client: httpx.Client) -> None:
    before = len(client.get("/v1/experiments").json()["items"])
    body = {
        "name": "faulty",
        "dataset": "few",
        "rows": [3, 9],
        "seeds": [1, 1],
        "options": {"max_steps": 0, "noise_on_z": True},
        "sweep": {
            "grid": {"noise_std": [0.1, -1, "much"], "lattice_width": [4], "noise_on_z": [True]},
            "depth": 3,
        },
        "max_parallel": 0,
        "priority": 1,
    }
    answer = client.post("/v1/experiments", json=body)
    assert answer.status_code == 422
    places = {tuple(fault["loc"]) for fault in answer.json()["errors"]}
    assert places >= {
        ("rows",),
        ("seeds", 1),
        ("sweep", "grid", "lattice_width"),
        ("sweep", "grid", "noise_on_z"),
        ("sweep", "grid", "noise_std", 1),
        ("sweep", "grid", "noise_std", 2),
        ("sweep", "depth"),
        ("options", "max_steps"),
        ("max_parallel",),
        ("priority",),
    }
    del body["sweep"]
    body |= {"rows": [0, 3], "seeds": [1], "max_parallel": 1, "options": {}}
    del body["priority"]
    body["sweep"] = {"grid": {"noise_std": [0.1, -1, "much"], "spawn.threshold": [0.1, 9]}}
    answer = client.post("/v1/experiments", json=body)
    places = {tuple(fault["loc"]) for fault in answer.json()["errors"]}
    assert places == {("sweep", "grid", "noise_std", 1), ("sweep", "grid", "noise_std", 2)}
    assert len(client.get("/v1/experiments").json()["items"]) == before
    assert client.get("/v1/experiments/faulty").status_code == 404


@pytest.mark.parametrize(
    ("fields", "status", "place"),
    [
        ({"dataset": "none"}, 404, ["dataset"]),
        ({"model": "none"}, 404, ["model"]),
        ({"kind": "train"}, 422, ["dataset"]),
        ({"sweep": {"random": {"noise_std": {"low": 1}}, "count": 2}}, 422, None),
        ({"sweep": {"grid": {"noise_std": [0.1]}, "random": {}}}, 422, ["sweep"]),
        ({"seeds": []}, 422, ["seeds"]),
        (
            {
                "sweep": {"random": {"noise_std": {"low": 0.1, "high": 0.2}}, "count": 101},
                "seeds": list(range(100)),
            },
            422,
            ["sweep"],
        ),
        ({"options": {"deterministic": True}, "seeds": [1]}, 422, ["seeds", 0]),
        ({"name": "no such/name"}, 422, ["name"]),
    ],
)
def test_refused_requests(
    client: httpx.Client, fields: dict[str, Any], status: int, place: list[str] | None
) -> None:
    answer = client.post("/v1/experiments", json={"name": "bad", "dataset": "few", **fields})
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    if place is not None:
        assert answer.json()["errors"][0]["loc"] == place


def test_names_are_unique_and_a_key_makes_one(client: httpx.Client) -> None:
    content = orjson.dumps({"name": "once", "dataset": "few"})
    headers = {"content-type": "application/json", "idempotency-key": "one experiment"}

    def send(_: int) -> httpx.Response:
        return client.post("/v1/experiments", content=content, headers=headers)

    with ThreadPoolExecutor(4) as callers:
        answers = list(callers.map(send, range(4)))
    assert [answer.status_code for answer in answers] == [201] * 4
    assert len({answer.json()["experiment_id"] for answer in answers}) == 1
    replayed = [answer.headers.get("idempotency-replayed") for answer in answers]
    assert replayed.count("true") == 3
    taken = client.post("/v1/experiments", json={"name": "once", "dataset": "few"})
    assert taken.status_code == 409
    other = orjson.dumps({"name": "twice", "dataset": "few"})
    assert client.post("/v1/experiments", content=other, headers=headers).status_code == 422


def test_datasets_and_models_of_an_experiment_are_not_removed(client: httpx.Client) -> None:
    put_dataset(client, "needed", 4)
    config = {"config": dict(TINY_FIELDS)}
    assert client.post("/v1/models", json={"name": "needed", **config}).status_code == 201
    start_experiment(client, name="needing", dataset="needed", model="needed")
    wait_until_ended(client, "needing")
    for kind in ("datasets", "models"):
        refused = client.delete(f"/v1/{kind}/needed")
        assert refused.status_code == 409
        assert refused.json()["users"] == ["experiment needing"]
    (trial,) = read_trials(client, "needing")
    for answer in (client.delete(trial["run_url"]), client.post(f"{trial['run_url']}/cancel")):
        assert answer.status_code == 409
        assert read_experiment(client, "needing")["url"] in answer.json()["detail"]
    assert client.delete("/v1/experiments/needing").status_code == 204
    assert client.get("/v1/experiments/needing").status_code == 404
    assert client.get(trial["run_url"]).status_code == 404
    for kind in ("datasets", "models"):
        assert client.delete(f"/v1/{kind}/needed").status_code == 204


def test_lists_are_filtered_and_in_pages(client: httpx.Client) -> None:
    for name in ("list-a", "list-b", "list-c"):
        start_experiment(client, name=name, dataset="few", seeds=[1, 2, 3])
        wait_until_ended(client, name)
    page = client.get("/v1/experiments?state=succeeded&kind=simulate&limit=2").json()
    assert [item["name"] for item in page["items"]] == ["list-c", "list-b"]
    rest = client.get("/v1/experiments", params={"cursor": page["next_cursor"], "limit": 1}).json()
    assert [item["name"] for item in rest["items"]] == ["list-a"]
    assert client.get("/v1/experiments?kind=train").json()["items"] == []
    first = client.get("/v1/experiments/list-b/trials?limit=2").json()
    second = client.get(
        "/v1/experiments/list-b/trials", params={"cursor": first["next_cursor"]}
    ).json()
    assert [trial["trial"] for trial in first["items"] + second["items"]] == [0, 1, 2]
    assert second["next_cursor"] is None
    assert client.get("/v1/experiments/list-b/trials?state=failed").json()["items"] == []
    runs = client.get("/v1/runs?kind=trial&state=succeeded&experiment=list-b").json()["items"]
    assert [run["experiment"]["trial"] for run in runs] == [2, 1, 0]
    both = client.get("/v1/runs?kind=trial&kind=run&experiment=list-b").json()["items"]
    assert [run["run_id"] for run in both] == [run["run_id"] for run in runs]
    assert client.get("/v1/runs?kind=run&kind=simulate&experiment=list-b").json()["items"] == []
    assert client.get("/v1/runs?experiment=nobody").status_code == 404


def test_results_as_tables(client: httpx.Client) -> None:
    sweep = {"grid": {"noise_std": [0.1, 0.4]}}
    start_experiment(client, name="table", dataset="few", sweep=sweep, seeds=[1, 2, 3])
    wait_until_ended(client, "table")
    url = "/v1/experiments/table/results"
    reported = client.get(url).json()
    assert [row["trial"] for row in reported["rows"]] == list(range(6))
    assert reported["columns"][:5] == ["trial", "state", "seed", "run_id", "noise_std"]
    found = read_trials(client, "table")
    for row, trial in zip(reported["rows"], found, strict=True):
        assert list(row) == reported["columns"]
        assert row["noise_std"] == trial["parameters"]["noise_std"]
        assert row["terminated.plane"] == trial["metrics"]["terminated"]["plane"]
        assert row["compute_ms"] == trial["timing"]["compute_ms"]
        assert row["error"] is None
    table = pq.read_table(io.BytesIO(client.get(f"{url}?format=parquet").content))
    assert table.column_names == reported["columns"]
    assert table["reflected"].to_pylist() == [row["reflected"] for row in reported["rows"]]
    lines = client.get(url, headers={"accept": "text/csv"}).text.splitlines()
    assert lines[0].split(",") == reported["columns"]
    assert len(lines) == 7
    points = client.get(f"{url}?of=points").json()
    assert [row["noise_std"] for row in points["rows"]] == [0.1, 0.4]
    assert [row["seeds"] for row in points["rows"]] == [3, 3]
    for place, row in enumerate(points["rows"]):
        values = [one["reflected"] for one in reported["rows"][3 * place : 3 * place + 3]]
        assert row["reflected.mean"] == pytest.approx(np.mean(values), rel=1e-12)
        assert row["reflected.std"] == pytest.approx(np.std(values, ddof=1), rel=1e-12)
    assert client.get(f"{url}?format=xml").status_code == 406


def test_operators_see_how_many_there_are(client: httpx.Client) -> None:
    start_experiment(client, name="seen", dataset="few")
    wait_until_ended(client, "seen")
    reported = client.get("/v1/experiments?state=succeeded&limit=1000").json()["items"]
    lines = client.get("/metrics").text.splitlines()
    assert f'energy_flow_experiments{{state="succeeded"}} {float(len(reported))}' in lines
    assert 'energy_flow_experiments{state="paused"} 0.0' in lines
    assert 'energy_flow_runs{state="paused"} 0.0' in lines


def test_trials_are_not_removed_for_space(tmp_path: Path) -> None:
    with serving(tmp_path, keep_runs_bytes=0) as server:
        client = server.client
        put_dataset(client, "few", 6)
        start_experiment(client, name="kept", dataset="few", seeds=[1, 2])
        wait_until_ended(client, "kept")
        for _ in range(3):
            last = client.post("/v1/simulate", json={"embeddings": rows().tolist()}).json()
        listed = [run["run_id"] for run in client.get("/v1/runs").json()["items"]]
        kept = [trial["run_id"] for trial in read_trials(client, "kept")]
        assert listed == [last["run_id"], *kept[::-1]]
        for trial in read_trials(client, "kept"):
            assert client.get(f"{trial['run_url']}/outputs/surface").status_code == 200
        size = client.get(f"/v1/runs/{last['run_id']}").json()["bytes"]
        assert client.get("/v1/system").json()["store"]["ended_runs_bytes"] == size


def test_a_removed_experiment_leaves_nothing(client: httpx.Client) -> None:
    made = start_experiment(client, name="gone", dataset="few", seeds=[1, 2])
    wait_until_ended(client, "gone")
    ids = {trial["run_id"] for trial in read_trials(client, "gone")}
    assert client.delete(made["url"]).status_code == 204
    assert not ids & {run["run_id"] for run in client.get("/v1/runs?limit=1000").json()["items"]}
    again = start_experiment(client, name="gone", dataset="few")
    assert again["experiment_id"] != made["experiment_id"]
    wait_until_ended(client, "gone")
